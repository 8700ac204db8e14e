/* What a process lets others see: a memory file with its exported memory and events. */
#ifndef CORDEE_BOARD_H
#define CORDEE_BOARD_H

#include "event.h"

enum { BOARD_EXPORTS = 4096, BOARD_MARKS = 4096, BOARD_PIDS = 32 };

/* A piece of this process's device memory that others may map. */
typedef struct board_export {
    _Atomic uint32_t live;
    int32_t chip;
    int32_t file; /* descriptor, in this process */
    _Atomic uint32_t everyone;
    uint64_t offset, bytes;
    _Atomic uint32_t pid_count;
    int32_t pids[BOARD_PIDS]; /* who may map it, unless everyone may */
} board_export;

typedef struct board {
    board_export exports[BOARD_EXPORTS];
    mark marks[BOARD_MARKS];
} board;

/* The board of this process, made at the first call; NULL: the host refused. */
board *board_own(void);

/* The board of another process, to be given back by board_close; NULL: it has none. */
board *board_open(int32_t pid);
void board_close(board *b);

/* A descriptor for file number `file` of another process; -1: not to be had. */
int board_file(int32_t pid, int32_t file);

/* Numbers of entries of the own board; -1: full. */
int board_add_export(int chip, int file, uint64_t offset, uint64_t bytes, bool everyone);
bool board_allow(int number, const int32_t *pids, size_t count);
void board_remove_export(int number);
void board_forget(int file, uint64_t offset, uint64_t bytes); /* exports of memory that is freed */
int board_add_mark(void);
void board_remove_mark(int number);

bool board_may_map(const board_export *e, int32_t pid);

#endif
