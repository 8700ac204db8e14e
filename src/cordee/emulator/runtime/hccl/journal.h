// What every operation of this process did and when, for whoever reads the run afterwards.
//
// Kept where CORDEE_TRACE names a folder; docs/trace.md describes the lines.
#ifndef CORDEE_HCCL_JOURNAL_H
#define CORDEE_HCCL_JOURNAL_H

#include <stdint.h>

#include <vector>

#include <acl/acl.h>

namespace hccl {

class Operation;

// One message of a batch.
struct Carried {
    bool sends;
    uint32_t peer;
    uint64_t bytes;
};

// One rank's part in one operation. Times are of CLOCK_MONOTONIC; 0: it did not come to that.
struct Entry {
    uint64_t number = 0; // of a collective, the same on all ranks; 0: messages
    uint64_t bytes = 0;  // of what it gives or gets, whichever is larger; of messages: of all
    int32_t stream = -1;
    uint64_t issued_ns = 0; // the program called
    uint64_t begun_ns = 0;  // it had its turn on the stream
    uint64_t met_ns = 0;    // all ranks were there
    uint64_t ended_ns = 0;
    uint64_t seen_ns = 0; // last written down while it still ran
    std::vector<Carried> carried;
};

bool journal_is_kept();

// Writes down an operation that has ended with `code`.
void journal_note(const Operation &operation, aclError code);

// Writes down that an operation still runs, now and then: one that never ends is found there. What is
// written later of the same operation takes the place of this.
void journal_see(Operation &operation);

} // namespace hccl

#endif
