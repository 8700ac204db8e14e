/* Who runs: facts about processes that /proc knows. */
#include "process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static size_t read_all(const char *path, char *text, size_t room)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, room - 1);

    if (file >= 0)
        close(file);
    text[got < 0 ? 0 : got] = '\0';
    return got < 0 ? 0 : (size_t)got;
}

uint64_t process_start_ticks(int32_t pid)
{
    char path[64], text[1024], state = 'X';
    unsigned long ticks = 0;
    char *rest;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_all(path, text, sizeof text))
        return 0;
    /* Fields are counted after the command, which may itself hold spaces and brackets. */
    rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d"
                                  " %*d %*d %*d %*d %lu", &state, &ticks) != 2)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : ticks; /* a zombie's memory is gone already */
}

bool process_lives(int32_t pid, uint64_t start_ticks)
{
    uint64_t now = process_start_ticks(pid);

    return now != 0 && (start_ticks == 0 || start_ticks == now);
}

void process_command(char *name, size_t room)
{
    char text[1024];
    size_t got = read_all("/proc/self/cmdline", text, sizeof text);
    const char *shown = text, *slash;

    for (size_t i = 0; i + 1 < got; i += strlen(text + i) + 1)
        if (i > 0 && text[i] != '-' && strstr(text + i, ".py")) {
            shown = text + i;
            break;
        }
    slash = strrchr(shown, '/');
    snprintf(name, room, "%s", slash ? slash + 1 : shown);
}
