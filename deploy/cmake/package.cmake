# Debian packages, one for each component of install.cmake. deploy/package makes them.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME arenad)
set(CPACK_PACKAGE_CONTACT "The arenad developers <arenad@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL arenad libarenad libarenad-dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)      # dependencies as dpkg-shlibdeps finds them
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY "=")
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_ARENAD_PACKAGE_NAME arenad)
set(CPACK_DEBIAN_ARENAD_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_ARENAD_DESCRIPTION
  "daemon that owns shared-memory arenas
Processes and containers of one host allocate blocks in an arena, hand them to each other without a
copy, and free them. This package has the daemon arenad, its tool arenactl and arena-load.")

set(CPACK_DEBIAN_LIBARENAD_PACKAGE_NAME libarenad)
set(CPACK_DEBIAN_LIBARENAD_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBARENAD_DESCRIPTION
  "client library of arenad, and its allocator
Programs that allocate in arenas of the daemon arenad need these shared libraries.")

set(CPACK_DEBIAN_LIBARENAD-DEV_PACKAGE_NAME libarenad-dev)
set(CPACK_DEBIAN_LIBARENAD-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBARENAD-DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_LIBARENAD-DEV_PACKAGE_DEPENDS "libarenad (= ${PROJECT_VERSION}-1)")
set(CPACK_DEBIAN_LIBARENAD-DEV_PACKAGE_SUGGESTS "libgrpc++-dev, libprotobuf-dev")
set(CPACK_DEBIAN_LIBARENAD-DEV_DESCRIPTION
  "headers and static libraries of arenad's client library
Needed to compile programs that use arenad. Has a CMake package and pkg-config files. Linking the
client statically needs the suggested packages too.")

include(CPack)
