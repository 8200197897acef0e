# Boost for a cross build. The parts of Boost that arenad uses are headers only.
include(${CMAKE_CURRENT_LIST_DIR}/host_headers.cmake)
arenad_host_headers(Boost::headers boost/version.hpp)
file(STRINGS /usr/include/boost/version.hpp version REGEX "define BOOST_LIB_VERSION")
string(REGEX REPLACE ".*\"([0-9]+)_([0-9]+).*\".*" "\\1.\\2" Boost_VERSION "${version}")
set(Boost_FOUND TRUE)
