/* Who runs: facts about processes that /proc knows. */
#ifndef CORDEE_PROCESS_H
#define CORDEE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When a process started, in clock ticks after boot; 0: it does not run. */
uint64_t process_start_ticks(int32_t pid);

/* Whether the process that had `pid` when it started at `start_ticks` still runs. */
bool process_lives(int32_t pid, uint64_t start_ticks);

/* Short name of this process: its first script argument, or its executable. */
void process_command(char *name, size_t room);

#endif
