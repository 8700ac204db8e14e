// One rank's side of a communicator.
#ifndef CORDEE_HCCL_COMMUNICATOR_H
#define CORDEE_HCCL_COMMUNICATOR_H

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "buffers.h"
#include "failure.h"
#include "line.h"
#include "member.h"
#include "room.h"
#include "switchboard.h"
#include "view.h"

namespace hccl {

// A stretch of device memory.
struct Stretch {
    char *start;
    uint64_t bytes;

    bool holds(const void *p, uint64_t size) const
    {
        const auto *at = static_cast<const char *>(p);
        return at >= start && size <= bytes && at - start <= static_cast<long>(bytes - size);
    }
    bool meets(const void *p, uint64_t size) const
    {
        const auto *at = static_cast<const char *>(p);
        return at < start + bytes && start < at + size;
    }
};

// Memory that a communicator was told of; see windows.cpp.
struct Windows {
    std::mutex lock;
    std::vector<Stretch> registered, reserved, active;
};

class Communicator {
  public:
    ~Communicator();

    uint32_t ranks() const { return static_cast<uint32_t>(members.size()); }
    bool is_local(uint32_t other) const { return seat_of[other] >= 0; }
    bool all_local() const { return locals.size() == members.size(); }
    uint32_t my_seat() const { return static_cast<uint32_t>(seat_of[rank]); }

    // The most bytes a rank may post as a message: all ranks read those of all.
    uint64_t inline_bytes() const { return kInline < (1u << 19) / ranks() ? kInline : (1u << 19) / ranks(); }

    // Operations take place in the order in which they were issued.
    uint64_t issue();
    bool is_turn(uint64_t ticket, int slice_ms);
    void finish(uint64_t ticket);

    // The number of the next collective, the same on all ranks. Only who has the turn asks.
    uint64_t next_operation() { return epoch << 40 | ++operations_; }
    // Start counting anew, above all numbers there were.
    void next_epoch();

    // The link to a rank on another host gave up. As on hardware what waits goes on waiting; the program
    // asks HcclGetCommAsyncError.
    void note_broken(uint32_t other, const char *why);

    std::string name;
    Identity identity = {};
    uint32_t rank = 0;
    int32_t chip = -1;
    uint64_t execute_timeout_ns = 0;
    std::shared_ptr<Buffers> buffers;
    std::vector<Member> members;

    std::vector<int> seat_of;     // in the room, by rank; -1: on another host
    std::vector<uint32_t> locals; // ranks by seat
    Room room;
    int room_file = -1; // offered to the others on this host
    Views views;
    Stage copies[kRounds]; // of what cannot be offered as it is, by round
    Stage own;             // where a round has no memory of the program's
    std::vector<std::unique_ptr<Line>> lines; // by rank; none to ranks on this host
    std::vector<uint64_t> sent, received;     // messages by rank

    Windows windows;

    uint64_t epoch = 0; // grows with every resumption
    uint32_t aborts = 0; // of the chip, when it was made or resumed
    std::atomic<bool> suspended = false;
    std::atomic<bool> destroyed = false;
    std::atomic<int> async_error = HCCL_SUCCESS;

  private:
    std::mutex lock_;
    std::condition_variable changed_;
    uint64_t issued_ = 0, done_ = 0;
    std::set<uint64_t> finished_; // out of turn
    uint64_t operations_ = 0;
};

using Handle = std::shared_ptr<Communicator>;

// Between the program's handles and what they stand for.
HcclComm handle_open(Handle communicator);
Handle handle_get(HcclComm handle); // empty: not a live one
bool handle_close(HcclComm handle);
bool handle_name_taken(const std::string &name, int32_t chip);

// Whether the communicator may be used now: not after its chip was stopped, until it is resumed.
HcclResult check_usable(const Handle &communicator);

} // namespace hccl

#endif
