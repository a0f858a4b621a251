/*
 * What machine the figures are from, as far as it says so itself.
 */
#include "report.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* What follows a key and a separator in the first line of a file that begins with the key. */
static const char *look_up(const char *path, const char *key, char separator, char *room, size_t size)
{
    FILE *file = fopen(path, "r");
    char line[512];
    snprintf(room, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *place = strchr(line, separator);
        if (strncmp(line, key, strlen(key)) != 0 || !place) continue;
        place += 1 + strspn(place + 1, " \t\"");
        place[strcspn(place, "\"\n")] = 0;
        snprintf(room, size, "%s", place);
        break;
    }
    if (file) fclose(file);
    return room;
}

static const char *file_system(void)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } kinds[] = {{0xEF53, "ext4"}, {0x58465342, "xfs"}, {0x9123683E, "btrfs"}, {0x01021994, "tmpfs"},
        {0x794C7630, "overlayfs"}};
    struct statfs status;
    if (statfs(".", &status) != 0) return "an unknown file system";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if ((unsigned long)status.f_type == kinds[i].magic) return kinds[i].name;
    }
    return "another file system";
}

void write_machine(FILE *file)
{
    char processor[256], memory[64], system[128], date[32];
    struct utsname kernel;
    time_t now = time(NULL);
    look_up("/proc/cpuinfo", "model name", ':', processor, sizeof processor);
    look_up("/proc/meminfo", "MemTotal", ':', memory, sizeof memory);
    look_up("/etc/os-release", "PRETTY_NAME", '=', system, sizeof system);
    uname(&kernel);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    fprintf(file, "| machine | |\n|---|---|\n");
    fprintf(file, "| processor | %ld cores of %s |\n", sysconf(_SC_NPROCESSORS_ONLN), processor);
    fprintf(file, "| memory | %.0f GiB |\n", strtod(memory, NULL) / (1 << 20));
    fprintf(file, "| system | %s, Linux %s, %s |\n", system, kernel.release, file_system());
    fprintf(file, "| harness | gcc %s |\n| day | %s |\n\n", __VERSION__, date);
}
