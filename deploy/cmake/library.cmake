# arenad_library: one library of arenad, static and shared, from objects that are compiled once.
#
# arenad_library(NAME
#   SOURCES ...     compiled into the target arenad_NAME_objects
#   OBJECTS ...     object libraries that become part of NAME too
#   NEEDS ...       other libraries of arenad that a user of NAME needs too, by NAME
#   INCLUDE ...     include folders of the build tree for a user of NAME
#   PUBLIC ...      libraries of others that a user of NAME needs too
#   PRIVATE ...     libraries of others that only NAME itself needs
#   OPTIONS ...     compile options for NAME and its users
#   STATIC_ONLY     no shared library: NAME is a part of the tree that tests link, not a product
# )
#
# makes the targets arenad_NAME (static) and, with ARENAD_SHARED, arenad_NAME_shared.
# Their names for users are arenad::NAME, arenad::NAME_static and arenad::NAME_shared.
# arenad::NAME is the static one, or with BUILD_SHARED_LIBS the shared one. In an installed
# package arenad::NAME is the shared one.
function(arenad_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "STATIC_ONLY" ""
                        "SOURCES;OBJECTS;NEEDS;INCLUDE;PUBLIC;PRIVATE;OPTIONS")
  set(kinds static)
  if(ARENAD_SHARED AND NOT arg_STATIC_ONLY)
    list(APPEND kinds shared)
  endif()

  set(objects arenad_${name}_objects)
  set(target_objects $<TARGET_OBJECTS:${objects}>)
  foreach(other ${arg_OBJECTS})
    list(APPEND target_objects $<TARGET_OBJECTS:${other}>)
  endforeach()
  add_library(${objects} OBJECT ${arg_SOURCES})
  set_target_properties(${objects} PROPERTIES
    CXX_VISIBILITY_PRESET ${ARENAD_VISIBILITY} VISIBILITY_INLINES_HIDDEN ON)
  add_library(arenad_${name} STATIC ${target_objects})
  set(static arenad_${name})
  set(shared "")
  if("shared" IN_LIST kinds)
    add_library(arenad_${name}_shared SHARED ${target_objects})
    set(shared arenad_${name}_shared)
    target_link_options(${shared} PRIVATE -Wl,-z,defs)
    set_target_properties(${shared} PROPERTIES
      VERSION ${PROJECT_VERSION}
      SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})  # before 1.0 a minor breaks
  endif()

  foreach(kind ${kinds})
    set_target_properties(${${kind}} PROPERTIES
      LINKER_LANGUAGE CXX OUTPUT_NAME arenad_${name} EXPORT_NAME ${name}_${kind})
    add_library(arenad::${name}_${kind} ALIAS ${${kind}})
    set(suffix "")
    if(kind STREQUAL "shared")
      set(suffix _shared)
    endif()
    foreach(other ${arg_NEEDS})
      target_link_libraries(${${kind}} PUBLIC arenad_${other}${suffix})
    endforeach()
    target_link_libraries(${${kind}} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
    target_include_directories(${${kind}} INTERFACE $<INSTALL_INTERFACE:include>)
  endforeach()
  foreach(other ${arg_NEEDS})
    target_link_libraries(${objects} PUBLIC arenad_${other})
  endforeach()
  target_link_libraries(${objects} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})

  foreach(target ${objects} ${static} ${shared})
    target_compile_features(${target} PUBLIC cxx_std_20)
    target_compile_options(${target} PUBLIC ${arg_OPTIONS})
    foreach(folder ${ARENAD_BUILD_INCLUDE} ${arg_INCLUDE})
      target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${folder}>)
    endforeach()
  endforeach()

  if(BUILD_SHARED_LIBS AND shared)
    add_library(arenad::${name} ALIAS ${shared})
  else()
    add_library(arenad::${name} ALIAS ${static})
  endif()
endfunction()
