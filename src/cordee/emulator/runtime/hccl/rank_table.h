// Ranks from a cluster file.
#ifndef CORDEE_HCCL_RANK_TABLE_H
#define CORDEE_HCCL_RANK_TABLE_H

#include "switchboard.h"

namespace hccl {

// How many ranks the file names and where they meet; rank 0 makes itself reachable there.
HcclResult read_rank_table(const char *path, uint32_t rank, uint32_t *ranks, Meeting *meeting);

} // namespace hccl

#endif
