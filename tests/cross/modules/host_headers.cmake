# Header-only libraries of this machine for a cross build. They come through a folder that has
# nothing else, so no other header of this machine gets in. Every compile command has the folder.
set(arenad_host_headers ${CMAKE_BINARY_DIR}/host_headers)
file(MAKE_DIRECTORY ${arenad_host_headers})
foreach(library boost fmt)
  if(NOT EXISTS /usr/include/${library})
    message(FATAL_ERROR "/usr/include/${library} does not exist: run deploy/install_packages build")
  endif()
  file(CREATE_LINK /usr/include/${library} ${arenad_host_headers}/${library} SYMBOLIC)
endforeach()
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES ${arenad_host_headers})
