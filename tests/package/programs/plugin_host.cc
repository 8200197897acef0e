// A program that knows nothing of arenad. It loads a plugin when its threads run already, so the
// plugin's thread-local variables must fit into what the loader keeps in reserve.
//
// usage: plugin_host PLUGIN SOCKET_DIR ARENA
#include <dlfcn.h>

#include <cstdio>
#include <future>
#include <thread>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::promise<int (*)(const char*, const char*)> loaded;
  int result = 1;
  // This thread began before the plugin came, and it works with the plugin.
  std::thread early([&, run = loaded.get_future()]() mutable {
    if (auto* const function = run.get(); function != nullptr) result = function(argv[2], argv[3]);
  });
  void* const plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) std::fprintf(stderr, "%s\n", dlerror());
  void* const found = plugin == nullptr ? nullptr : dlsym(plugin, "plugin_run");
  loaded.set_value(reinterpret_cast<int (*)(const char*, const char*)>(found));
  early.join();
  return result;
}
