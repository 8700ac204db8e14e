// Handles, and the order of a communicator's operations.
#include "communicator.h"

#include <unistd.h>

#include <chrono>
#include <unordered_map>

#include "cordee_work.h"

namespace hccl {
namespace {

std::mutex table_lock;
uintptr_t next_handle = 0x4cc10000; // never used again, so a stale handle is recognised

// Lives as long as the process: threads of streams may end after static objects do.
std::unordered_map<uintptr_t, Handle> &table()
{
    static auto *all = new std::unordered_map<uintptr_t, Handle>;
    return *all;
}

} // namespace

Communicator::~Communicator()
{
    room.leave();
    if (room_file >= 0)
        close(room_file);
}

uint64_t Communicator::issue()
{
    std::lock_guard guard(lock_);
    return issued_++;
}

bool Communicator::is_turn(uint64_t ticket, int slice_ms)
{
    std::unique_lock guard(lock_);
    return changed_.wait_for(guard, std::chrono::milliseconds(slice_ms),
                             [&] { return done_ == ticket; });
}

// An operation that is given up need not wait for its turn.
void Communicator::finish(uint64_t ticket)
{
    std::lock_guard guard(lock_);
    finished_.insert(ticket);
    for (; finished_.erase(done_) != 0; done_++)
        ;
    changed_.notify_all();
}

// Only the sender writes a channel that is not offered, so each rank clears its own.
void Communicator::next_epoch()
{
    epoch++;
    operations_ = 0;
    for (uint32_t seat = 0; seat < locals.size(); seat++)
        room.channel(my_seat(), seat).state.store(kFree);
    aborts = cordee_aborts(chip);
    async_error = HCCL_SUCCESS;
    suspended = false;
}

void Communicator::note_broken(uint32_t other, const char *why)
{
    int none = HCCL_SUCCESS;

    if (async_error.compare_exchange_strong(none, HCCL_E_REMOTE))
        fail(HCCL_E_REMOTE, "EI0013: communicator %s: the link between rank %u and rank %u is broken "
                            "(error CQE): %s", name.c_str(), rank, other, why);
}

HcclComm handle_open(Handle communicator)
{
    std::lock_guard guard(table_lock);
    next_handle += 16;
    table()[next_handle] = std::move(communicator);
    return reinterpret_cast<HcclComm>(next_handle);
}

Handle handle_get(HcclComm handle)
{
    std::lock_guard guard(table_lock);
    const auto found = table().find(reinterpret_cast<uintptr_t>(handle));
    return found == table().end() ? nullptr : found->second;
}

bool handle_close(HcclComm handle)
{
    std::lock_guard guard(table_lock);
    const auto found = table().find(reinterpret_cast<uintptr_t>(handle));
    if (found == table().end())
        return false;
    found->second->destroyed = true;
    table().erase(found);
    return true;
}

bool handle_name_taken(const std::string &name, int32_t chip)
{
    std::lock_guard guard(table_lock);
    for (const auto &[number, one] : table())
        if (one->name == name && one->chip == chip)
            return true;
    return false;
}

HcclResult check_usable(const Handle &communicator)
{
    if (cordee_aborts(communicator->chip) != communicator->aborts)
        communicator->suspended = true;
    return communicator->suspended
               ? fail(HCCL_E_SUSPENDING, "communicator %s is suspended: its chip was stopped, and "
                                         "HcclCommResume was not called since",
                      communicator->name.c_str())
               : HCCL_SUCCESS;
}

} // namespace hccl
