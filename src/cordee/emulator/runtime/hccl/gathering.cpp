// Brings the ranks of a communicator together, or says who is missing.
//
// Texts name the vendor's error EI0015 (communicator initialization), for who searches for it.
#include "gathering.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "address.h"
#include "settings.h"

namespace hccl {
namespace {

Answer answer(HcclResult code, const std::string &why)
{
    Answer made = {};
    made.code = static_cast<uint32_t>(code);
    snprintf(made.why, sizeof made.why, "EI0015: %s", why.c_str());
    return made;
}

void send_home(int file, const Answer &answer)
{
    send_all(file, &answer, sizeof answer);
    close(file);
}

std::string missing(const std::vector<int> &files)
{
    std::string list;

    for (size_t rank = 0; rank < files.size(); rank++)
        if (files[rank] < 0)
            list += (list.empty() ? "" : ", ") + std::to_string(rank);
    return list;
}

// Two ranks on one chip: the vendor's library refuses that too.
std::string doubled(const std::vector<Member> &members)
{
    for (const Member &a : members)
        for (const Member &b : members)
            if (a.rank < b.rank && a.chip == b.chip && same(a.host, b.host) &&
                same(a.machine, b.machine) && (a.machine.file != 0 || a.pid == b.pid))
                return "rank " + std::to_string(b.rank) + " has the same device, chip " +
                       std::to_string(a.chip) + ", as rank " + std::to_string(a.rank);
    return "";
}

} // namespace

std::list<Gatherings::Gathering>::iterator Gatherings::find(const Call &call)
{
    auto found = std::find_if(open_.begin(), open_.end(), [&](const Gathering &one) {
        return one.identity == call.identity;
    });
    if (found == open_.end())
        found = open_.insert(found, {call.identity, call.ranks,
                                     Deadline::after_ns(connect_timeout_ns()),
                                     std::vector<Member>(call.ranks),
                                     std::vector<int>(call.ranks, -1)});
    return found;
}

void Gatherings::join(const Call &call, int file)
{
    const uint32_t rank = call.member.rank;
    auto which = find(call);

    if (call.ranks != which->ranks || rank >= which->ranks) {
        send_home(file, answer(HCCL_E_PARA, "rank " + std::to_string(rank) + " of " +
                                                std::to_string(call.ranks) + " called, others are of " +
                                                std::to_string(which->ranks)));
        return;
    }
    if (which->files[rank] >= 0) {
        send_home(file, answer(HCCL_E_PARA, "two processes say they are rank " + std::to_string(rank)));
        return;
    }
    which->members[rank] = call.member;
    which->files[rank] = file;
    if (std::find(which->files.begin(), which->files.end(), -1) != which->files.end())
        return;
    const std::string wrong = doubled(which->members);
    end(which, wrong.empty() ? Answer{HCCL_SUCCESS, which->ranks, ""} : answer(HCCL_E_PARA, wrong));
}

void Gatherings::end(std::list<Gathering>::iterator which, const Answer &answer)
{
    for (int file : which->files) {
        if (file < 0)
            continue;
        if (send_all(file, &answer, sizeof answer) && answer.code == HCCL_SUCCESS)
            send_all(file, which->members.data(), which->members.size() * sizeof(Member));
        close(file);
    }
    open_.erase(which);
}

void Gatherings::expire()
{
    for (auto one = open_.begin(); one != open_.end();) {
        auto which = one++;
        if (which->deadline.over())
            end(which, answer(HCCL_E_PARA,
                              "not every rank called the root within HCCL_CONNECT_TIMEOUT; list of "
                              "unconnected ranks: " + missing(which->files)));
    }
}

} // namespace hccl
