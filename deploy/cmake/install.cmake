# What `cmake --install` installs. The components are named after the Debian packages:
#   arenad          the programs
#   libarenad       the shared libraries
#   libarenad-dev   headers, static libraries, the CMake package and the pkg-config files
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/arenad)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH prefix_from_pkgconfig /prefix/${pkgconfig_dir} /prefix)
string(REGEX REPLACE "/$" "" prefix_from_pkgconfig "${prefix_from_pkgconfig}")

set(libraries allocator)
if(ARENAD_GRPC)
  list(APPEND libraries client)
endif()

# What a program needs that links the static client, and only such a program. So it is in
# Libs.private, not in Requires.private: pkg-config would ask for gRPC's development files even when
# a program uses the shared client.
if(ARENAD_GRPC)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(GRPC_FOR_STATIC REQUIRED QUIET grpc++ protobuf)
  list(JOIN GRPC_FOR_STATIC_STATIC_LDFLAGS " " grpc_static_libs)
endif()

foreach(library ${libraries})
  install(TARGETS arenad_${library} EXPORT arenad_static
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libarenad-dev)
  if(ARENAD_SHARED)
    install(TARGETS arenad_${library}_shared EXPORT arenad_shared
            LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libarenad
            NAMELINK_COMPONENT libarenad-dev)
  endif()
  configure_file(${PROJECT_SOURCE_DIR}/deploy/cmake/arenad-${library}.pc.in
                 ${PROJECT_BINARY_DIR}/arenad-${library}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/arenad-${library}.pc DESTINATION ${pkgconfig_dir}
          COMPONENT libarenad-dev)
endforeach()

# Headers. ARENAD_ALLOCATOR_HEADERS is relative to allocator/; their includes of each other are
# relative too, so that one set of files serves the source tree and the installed tree.
get_property(headers GLOBAL PROPERTY ARENAD_ALLOCATOR_HEADERS)
foreach(header ${headers})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/allocator/${header}
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/arenad/allocator/${folder}
          COMPONENT libarenad-dev)
endforeach()
install(FILES ${ARENAD_BUILD_INCLUDE}/arenad/version.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/arenad COMPONENT libarenad-dev)
if(ARENAD_GRPC)
  get_property(headers GLOBAL PROPERTY ARENAD_CLIENT_HEADERS)
  list(TRANSFORM headers PREPEND ${PROJECT_SOURCE_DIR}/client/include/)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/arenad
          COMPONENT libarenad-dev)
endif()

install(EXPORT arenad_static NAMESPACE arenad:: FILE arenadStatic.cmake
        DESTINATION ${package_dir} COMPONENT libarenad-dev)
if(ARENAD_SHARED)
  install(EXPORT arenad_shared NAMESPACE arenad:: FILE arenadShared.cmake
          DESTINATION ${package_dir} COMPONENT libarenad-dev)
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/deploy/cmake/arenadConfig.cmake.in
  ${PROJECT_BINARY_DIR}/arenadConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/arenadConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/arenadConfig.cmake
              ${PROJECT_BINARY_DIR}/arenadConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT libarenad-dev)

if(ARENAD_GRPC AND ARENAD_PROGRAMS)
  install(TARGETS arenad arenactl arena-load
          RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT arenad)
endif()

# Debian wants a copyright file in each package.
foreach(package arenad libarenad libarenad-dev)
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/copyright DESTINATION share/doc/${package}
          COMPONENT ${package})
endforeach()

if(PROJECT_IS_TOP_LEVEL AND ARENAD_GRPC AND ARENAD_PROGRAMS AND ARENAD_SHARED)
  include(${PROJECT_SOURCE_DIR}/deploy/cmake/package.cmake)
endif()
