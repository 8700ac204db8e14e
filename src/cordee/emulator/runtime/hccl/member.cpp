// Who a rank is: its host, its virtual machine, its process.
#include "member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hccl {
namespace {

uint64_t inode(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_ino : 0;
}

Host host_here()
{
    Host here = {};
    char text[64] = "", plain[33] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (file) {
        if (!fgets(text, sizeof text, file))
            text[0] = '\0';
        fclose(file);
    }
    for (size_t from = 0, to = 0; text[from] && to < 32; from++)
        if (text[from] != '-')
            plain[to++] = text[from];
    sscanf(plain, "%16lx%16lx", &here.boot[0], &here.boot[1]);
    here.network = inode("/proc/self/ns/net");
    here.processes = inode("/proc/self/ns/pid");
    here.user = getuid();
    return here;
}

Machine machine_here()
{
    const char *path = getenv("CORDEE_MACHINE");
    struct stat status;

    if (path && stat(path, &status) == 0)
        return {status.st_dev, status.st_ino};
    return {};
}

} // namespace

bool same(const Host &a, const Host &b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

bool same(const Machine &a, const Machine &b)
{
    return a.device == b.device && a.file == b.file;
}

Member member_here(uint32_t rank, int32_t chip)
{
    Member me = {};

    me.rank = rank;
    me.chip = chip;
    me.host = host_here();
    me.machine = machine_here();
    me.pid = getpid();
    me.room = -1;
    return me;
}

} // namespace hccl
