// What the ranks of one communicator on one host share: who has come how far, and small messages.
//
// Every rank has a seat with a phase that only grows. A rank that must wait for the others sleeps
// on one bell, which the last to arrive rings. Operation number s posts into slot s % 2: whoever
// writes slot s % 2 again has seen all ranks in operation s + 1, so nobody still reads s.
#ifndef CORDEE_HCCL_ROOM_H
#define CORDEE_HCCL_ROOM_H

#include <stddef.h>
#include <stdint.h>

#include <atomic>

namespace hccl {

// Bytes that one rank wants another to fetch, from the start of what it offers.
struct Piece {
    uint64_t start, bytes;
};

// Where another process finds bytes: a descriptor of process `pid`, and a place in its file.
struct Place {
    int32_t pid, file;
    uint64_t offset;
};

// What all ranks must agree on.
struct Signature {
    uint32_t kind, type, reduction, root;
    uint64_t count;
};

constexpr uint32_t kRounds = 2;       // at most, of one collective
constexpr uint64_t kInline = 1 << 16; // bytes of a small message
constexpr uint64_t kWatchNs = 50000;  // before a rank sleeps until another rings

struct Post {
    uint64_t operation;
    Signature signature;
    Place place[kRounds];
};

// One message from one rank to another: offered by the sender, fetched by the receiver.
struct Channel {
    std::atomic<uint32_t> state; // kFree, kOffered, kFetched
    uint32_t type;
    uint64_t bytes;
    Place place;
};
constexpr uint32_t kFree = 0, kOffered = 1, kFetched = 2;

struct Seat {
    alignas(64) std::atomic<uint64_t> phase;
    std::atomic<uint32_t> bell; // rung where a channel of this rank changes
    std::atomic<uint32_t> sleeps;
};

class Room {
  public:
    // Offers an empty room for `ranks` ranks; gives its descriptor, -1 where the host refuses.
    static int offer(uint32_t ranks);

    // Enters the room that process `pid` offers for `ranks` ranks as descriptor `file`, of which
    // `here` come. False: it cannot be opened.
    bool enter(int32_t pid, int file, uint32_t ranks, uint32_t here);
    void leave();

    Seat &seat(uint32_t rank) { return seats_[rank]; }
    Post &post(uint64_t operation, uint32_t rank) { return posts_[slot(operation) + rank]; }
    Piece &piece(uint64_t operation, uint32_t round, uint32_t from, uint32_t to);
    char *message(uint64_t operation, uint32_t rank);
    Channel &channel(uint32_t from, uint32_t to) { return channels_[from * ranks_ + to]; }

    void arrive(uint32_t rank, uint64_t phase);
    bool all_at(uint64_t phase) const;
    // Sleeps until all may have arrived, or `slice_ms` have passed.
    void doze(uint64_t phase, int slice_ms);

  private:
    bool watch(uint64_t phase) const;
    uint64_t slot(uint64_t operation) const { return (operation & 1) * ranks_; }

    uint32_t ranks_ = 0, here_ = 0;
    size_t bytes_ = 0;
    char *base_ = nullptr;
    std::atomic<uint32_t> *bell_ = nullptr, *sleepers_ = nullptr;
    Seat *seats_ = nullptr;
    Post *posts_ = nullptr;
    Piece *pieces_ = nullptr;
    Channel *channels_ = nullptr;
    char *messages_ = nullptr;
};

void ring(std::atomic<uint32_t> &bell);
void sleep_on(std::atomic<uint32_t> &bell, uint32_t seen, int slice_ms);

} // namespace hccl

#endif
