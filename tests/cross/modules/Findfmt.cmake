# fmt for a cross build: headers only, as everywhere in arenad.
if(NOT TARGET fmt::fmt)
  add_library(fmt::fmt INTERFACE IMPORTED GLOBAL)
endif()
set(fmt_FOUND TRUE)
