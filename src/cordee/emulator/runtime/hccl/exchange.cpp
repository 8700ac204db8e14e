// The part of a round that goes over the network.
#include <poll.h>
#include <string.h>

#include <algorithm>

#include <acl/error_codes/rt_error_codes.h>

#include "element.h"
#include "fetch.h"

namespace hccl {
namespace {

constexpr uint64_t kStep = 1u << 20; // handed to the network while device memory is held in place

enum class Sending { kReady, kWait, kFrame, kBytes, kDone };
enum class Receiving { kReady, kFrame, kBytes, kDone };

// What goes to and comes from one rank.
struct Traffic {
    uint32_t peer;
    Line *line;
    Piece out, in;
    char *kept; // where the round reduces
    Sending sending = Sending::kReady;
    Receiving receiving = Receiving::kReady;
    uint64_t sent = 0, received = 0;

    bool is_done() const { return sending == Sending::kDone && receiving == Receiving::kDone; }
    short wants() const
    {
        const bool writes = sending == Sending::kReady || sending == Sending::kFrame ||
                            sending == Sending::kBytes;
        const bool reads = receiving != Receiving::kDone;
        return static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
    }
};

class Exchange {
  public:
    Exchange(const Patience &patience, Communicator &communicator, const Plan &plan, uint32_t number,
             uint64_t operation, char *own_offered, char *own_target)
        : patience_(patience), communicator_(communicator), plan_(plan), number_(number),
          operation_(operation), own_offered_(own_offered), own_target_(own_target)
    {
    }

    aclError run(std::vector<Traffic> &all, uint64_t *met_ns)
    {
        for (;;) {
            std::vector<pollfd> waiting;
            uint32_t absent = 0;
            for (Traffic &one : all) {
                if (aclError code = advance(one); code != ACL_SUCCESS)
                    return code;
                if (one.is_done())
                    continue;
                absent = one.peer;
                waiting.push_back({one.line->error() ? -1 : one.line->file(), one.wants(), 0});
            }
            if (met_ns && *met_ns == 0 && are_there(all))
                *met_ns = now_ns();
            if (waiting.empty())
                return ACL_SUCCESS;
            if (aclError code = patience_.check(absent); code != ACL_SUCCESS)
                return code;
            poll(waiting.data(), waiting.size(), kSliceMs);
        }
    }

  private:
    static bool are_there(const std::vector<Traffic> &all)
    {
        return std::all_of(all.begin(), all.end(), [](const Traffic &one) {
            return one.receiving != Receiving::kReady;
        });
    }

    const Round &round() const { return plan_.rounds[number_]; }

    Frame frame(Said said, uint64_t bytes) const
    {
        return {kFrameMagic, said, operation_, number_, static_cast<uint32_t>(plan_.type), bytes,
                plan_.signature};
    }

    aclError advance(Traffic &one)
    {
        aclError code = receive(one);
        if (code == ACL_SUCCESS)
            code = send(one);
        if (one.line->error() && !one.is_done())
            communicator_.note_broken(one.peer, strerror(one.line->error()));
        return code;
    }

    aclError send(Traffic &one)
    {
        if (one.sending == Sending::kReady && one.line->send(frame(Said::kReady, one.in.bytes)))
            one.sending = Sending::kWait;
        if (one.sending == Sending::kWait && one.receiving != Receiving::kReady)
            one.sending = Sending::kFrame;
        if (one.sending == Sending::kFrame && one.line->send(frame(Said::kBytes, one.out.bytes)))
            one.sending = Sending::kBytes;
        while (one.sending == Sending::kBytes && one.sent < one.out.bytes) {
            const uint64_t bytes = std::min(kStep, one.out.bytes - one.sent);
            const Held from(round().offered.device, own_offered_, one.out.start + one.sent, bytes);
            if (!from.get())
                return fail_freed(patience_.what());
            const size_t some = one.line->send_some(from.get(), bytes);
            if (some == 0)
                return ACL_SUCCESS;
            one.sent += some;
        }
        if (one.sending == Sending::kBytes)
            one.sending = Sending::kDone;
        return ACL_SUCCESS;
    }

    aclError receive(Traffic &one)
    {
        Frame said;

        if (one.receiving == Receiving::kReady && one.line->receive(&said)) {
            if (aclError code = check(one, said, one.out.bytes); code != ACL_SUCCESS)
                return code;
            one.receiving = Receiving::kFrame;
        }
        if (one.receiving == Receiving::kFrame && one.line->receive(&said)) {
            if (aclError code = check(one, said, one.in.bytes); code != ACL_SUCCESS)
                return code;
            one.receiving = Receiving::kBytes;
        }
        while (one.receiving == Receiving::kBytes && one.received < one.in.bytes) {
            const uint64_t bytes = std::min(kStep, one.in.bytes - one.received);
            const Held to(one.kept ? nullptr : round().target.device, one.kept ? one.kept : own_target_,
                          (one.kept ? 0 : one.in.start) + one.received, bytes);
            if (!to.get())
                return fail_freed(patience_.what());
            const size_t some = one.line->receive_some(to.get(), bytes);
            if (some == 0)
                return ACL_SUCCESS;
            one.received += some;
        }
        if (one.receiving == Receiving::kBytes)
            one.receiving = Receiving::kDone;
        return ACL_SUCCESS;
    }

    aclError check(const Traffic &one, const Frame &said, uint64_t bytes) const
    {
        if (said.operation == operation_ && said.round == number_ && said.bytes == bytes &&
            memcmp(&said.signature, &plan_.signature, sizeof said.signature) == 0)
            return ACL_SUCCESS;
        return fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                         "EI0005: The arguments for collective communication are inconsistent between "
                         "ranks: tag [%s_%s], local [rank %u: cmdType %u, count %lu, %lu bytes], remote "
                         "[rank %u: cmdType %u, count %lu, %lu bytes]", patience_.what(),
                         communicator_.name.c_str(), communicator_.rank, plan_.signature.kind,
                         plan_.signature.count, bytes, one.peer, said.signature.kind,
                         said.signature.count, said.bytes);
    }

    const Patience &patience_;
    Communicator &communicator_;
    const Plan &plan_;
    uint32_t number_;
    uint64_t operation_;
    char *own_offered_, *own_target_;
};

} // namespace

aclError exchange(const Patience &patience, Communicator &communicator, const Plan &plan,
                  uint32_t number, uint64_t operation, char *own_offered, char *own_target,
                  std::vector<std::unique_ptr<char[]>> *kept, Sources *sources,
                  uint64_t *met_ns)
{
    const Round &round = plan.rounds[number];
    std::vector<Traffic> all;

    for (uint32_t peer = 0; peer < communicator.ranks(); peer++) {
        if (communicator.is_local(peer))
            continue;
        const Piece in = round.incoming[round.reduces ? 0 : peer];
        if (round.reduces && in.bytes > 0) {
            (*kept)[peer].reset(new char[in.bytes]);
            (*sources)[peer] = (*kept)[peer].get();
        }
        all.push_back({peer, communicator.lines[peer].get(), round.outgoing[peer], in,
                       (*kept)[peer].get()});
    }
    return Exchange(patience, communicator, plan, number, operation, own_offered, own_target)
        .run(all, met_ns);
}

} // namespace hccl
