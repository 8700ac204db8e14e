// Sends and receives between pairs of ranks, all under way at the same time.
//
// A send ends when its receiver has the bytes, as the vendor says of HcclSend: a program that hangs
// on hardware because two ranks send to each other first hangs here too.
#ifndef CORDEE_HCCL_MESSAGES_H
#define CORDEE_HCCL_MESSAGES_H

#include <deque>
#include <map>

#include "operation.h"
#include "outage.h"

namespace hccl {

struct Message {
    bool sends;
    char *device;
    uint64_t bytes;
    HcclDataType type;
    uint32_t peer;
    uint64_t done = 0;                 // bytes that went over the network
    bool offered = false;              // on this host
    std::unique_ptr<Stage> copied;     // where it cannot be offered as it is
};

class Messages final : public Operation {
  public:
    Messages(Handle communicator, const char *what, std::vector<Message> all);
    aclError run(const Patience &patience) override;
    Messages *as_messages() override { return this; }
    void take_over(Messages &other);

  private:
    enum class Writer { kIdle, kReady, kFrame, kBytes };
    // Messages with one rank; those of each direction in their order.
    struct Peer {
        std::deque<Message *> sends, receives;
        bool ready_said = false;
        bool reads_bytes = false;
        Writer writer = Writer::kIdle;
        Outage outage;
        bool is_done() const { return sends.empty() && receives.empty(); }
    };

    aclError start();
    aclError advance(const Patience &patience, uint32_t rank, Peer &peer);
    aclError send_here(uint32_t rank, Peer &peer);
    aclError receive_here(const Patience &patience, uint32_t rank, Peer &peer);
    aclError read_line(uint32_t rank, Peer &peer);
    aclError write_line(uint32_t rank, Peer &peer);
    aclError read_frame(uint32_t rank, Peer &peer, bool *more);
    aclError transfer(Line &line, Message &message, bool *all);
    void sleep(uint32_t bell_seen);

    std::vector<Message> all_;
    std::map<uint32_t, Peer> peers_;
};

} // namespace hccl

#endif
