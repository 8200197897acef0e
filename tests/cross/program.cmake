# arenad_program_path(TARGET VARIABLE): the path by which a test starts the program TARGET.
# In a cross build this is a script that starts the program under the emulator, because the kernel
# does not start programs of another architecture.
function(arenad_program_path target variable)
  if(NOT CMAKE_CROSSCOMPILING)
    set(${variable} $<TARGET_FILE:${target}> PARENT_SCOPE)
    return()
  endif()
  list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)
  set(program $<TARGET_FILE:${target}>)
  set(script ${CMAKE_CURRENT_BINARY_DIR}/run_${target})
  configure_file(${PROJECT_SOURCE_DIR}/tests/cross/run_program.in ${script}.in @ONLY)
  file(GENERATE OUTPUT ${script} INPUT ${script}.in
       FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  set(${variable} ${script} PARENT_SCOPE)
endfunction()
