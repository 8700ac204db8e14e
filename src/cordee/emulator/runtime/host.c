/* How much memory the host can still give to the chips it emulates. */
#include <stdio.h>
#include <string.h>

#include "chip.h"

/* Value of "name <number>" in a file of such lines, or `otherwise`. */
static uint64_t field(const char *path, const char *name, uint64_t otherwise)
{
    FILE *file = fopen(path, "re");
    char line[256];
    unsigned long value;

    if (!file)
        return otherwise;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line + strlen(name), "%lu", &value) == 1) {
            otherwise = value;
            break;
        }
    fclose(file);
    return otherwise;
}

/* What the control group of a container leaves; the page cache in it can be dropped. */
static uint64_t group_available_bytes(void)
{
    uint64_t limit = field("/sys/fs/cgroup/memory.max", "", UINT64_MAX);
    uint64_t used = field("/sys/fs/cgroup/memory.current", "", 0);
    uint64_t cache = field("/sys/fs/cgroup/memory.stat", "inactive_file ", 0);

    if (limit == UINT64_MAX)
        return UINT64_MAX;
    used = used > cache ? used - cache : 0;
    return limit > used ? limit - used : 0;
}

uint64_t host_available_bytes(void)
{
    uint64_t host = field("/proc/meminfo", "MemAvailable:", UINT64_MAX / 1024) * 1024;
    uint64_t group = group_available_bytes();

    return host < group ? host : group;
}
