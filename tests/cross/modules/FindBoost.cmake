# Boost for a cross build. The parts of Boost that arenad uses are headers only.
if(NOT TARGET Boost::headers)
  add_library(Boost::headers INTERFACE IMPORTED GLOBAL)
endif()
file(STRINGS /usr/include/boost/version.hpp version REGEX "define BOOST_LIB_VERSION")
string(REGEX REPLACE ".*\"([0-9]+)_([0-9]+).*\".*" "\\1.\\2" Boost_VERSION "${version}")
set(Boost_FOUND TRUE)
