// A library of another interface is refused. This program's own diamond_abi_version stands before the library's.
#include "check.hpp"

extern "C" std::int32_t diamond_abi_version(void) { return DIAMOND_ABI_VERSION + 1; }

int main(int count, char **arguments) {
    std::string folder = folder_from(count, arguments);
    THROWS(diamond::unsupported, "compiled for version 1 of DiamondDB's C interface", diamond::database{folder});
    THROWS(diamond::unsupported, "has version 2: compile it against", diamond::database{folder});
    std::puts("versions: ok");
    return 0;
}
