// The shared memory of a communicator on one host. It has no name: others open it under /proc.
#include "room.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

namespace hccl {
namespace {

// The head is one cache line; every part starts at a page, so that unused ones cost no memory.
constexpr size_t kHead = 4096;

size_t pages(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

struct Layout {
    size_t seats, posts, pieces, channels, messages, end;

    explicit Layout(size_t ranks)
    {
        seats = kHead;
        posts = seats + pages(ranks * sizeof(Seat));
        pieces = posts + pages(2 * ranks * sizeof(Post));
        channels = pieces + pages(2 * kRounds * ranks * ranks * sizeof(Piece));
        messages = channels + pages(ranks * ranks * sizeof(Channel));
        end = messages + 2 * ranks * kInline;
    }
};

} // namespace

void ring(std::atomic<uint32_t> &bell)
{
    bell.fetch_add(1);
    syscall(SYS_futex, &bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void sleep_on(std::atomic<uint32_t> &bell, uint32_t seen, int slice_ms)
{
    const timespec slice = {slice_ms / 1000, slice_ms % 1000 * 1000000L};

    syscall(SYS_futex, &bell, FUTEX_WAIT, seen, &slice, nullptr, 0);
}

int Room::offer(uint32_t ranks)
{
    const int file = memfd_create("cordee-room", MFD_CLOEXEC);

    if (file >= 0 && ftruncate(file, static_cast<off_t>(Layout(ranks).end)) != 0) {
        close(file);
        return -1;
    }
    return file;
}

bool Room::enter(int32_t pid, int file, uint32_t ranks, uint32_t here)
{
    const Layout layout(ranks);
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, file);
    const int opened = open(path, O_RDWR | O_CLOEXEC);
    if (opened < 0)
        return false;
    void *base = mmap(nullptr, layout.end, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    close(opened);
    if (base == MAP_FAILED)
        return false;
    ranks_ = ranks;
    here_ = here;
    bytes_ = layout.end;
    base_ = static_cast<char *>(base);
    bell_ = reinterpret_cast<std::atomic<uint32_t> *>(base_);
    sleepers_ = reinterpret_cast<std::atomic<uint32_t> *>(base_ + 64);
    seats_ = reinterpret_cast<Seat *>(base_ + layout.seats);
    posts_ = reinterpret_cast<Post *>(base_ + layout.posts);
    pieces_ = reinterpret_cast<Piece *>(base_ + layout.pieces);
    channels_ = reinterpret_cast<Channel *>(base_ + layout.channels);
    messages_ = base_ + layout.messages;
    return true;
}

void Room::leave()
{
    if (base_)
        munmap(base_, bytes_);
    base_ = nullptr;
}

Piece &Room::piece(uint64_t operation, uint32_t round, uint32_t from, uint32_t to)
{
    const uint64_t table = (operation & 1) * kRounds + round;
    return pieces_[(table * ranks_ + from) * ranks_ + to];
}

char *Room::message(uint64_t operation, uint32_t rank)
{
    return messages_ + (slot(operation) + rank) * kInline;
}

bool Room::all_at(uint64_t phase) const
{
    for (uint32_t rank = 0; rank < here_; rank++)
        if (seats_[rank].phase.load() < phase)
            return false;
    return true;
}

// Of the last two to arrive at the same time at least one sees all the others.
void Room::arrive(uint32_t rank, uint64_t phase)
{
    seats_[rank].phase.store(phase);
    if (!all_at(phase))
        return;
    bell_->fetch_add(1);
    if (sleepers_->load() != 0)
        syscall(SYS_futex, bell_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Waking a thread that sleeps takes longer than most ranks are late.
bool Room::watch(uint64_t phase) const
{
    const uint64_t end = now_ns() + kWatchNs;

    while (!all_at(phase)) {
        if (now_ns() >= end)
            return false;
        sched_yield();
    }
    return true;
}

void Room::doze(uint64_t phase, int slice_ms)
{
    if (watch(phase))
        return;
    sleepers_->fetch_add(1);
    const uint32_t seen = bell_->load();
    if (!all_at(phase))
        sleep_on(*bell_, seen, slice_ms);
    sleepers_->fetch_sub(1);
}

} // namespace hccl
