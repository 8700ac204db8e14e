// A connection to a rank on another host, and the frames that go over it.
//
// A receiver says it is ready before anything is sent to it, so bytes never come unasked, and both
// sides of a collective see each other arrive.
#ifndef CORDEE_HCCL_LINE_H
#define CORDEE_HCCL_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "room.h"

namespace hccl {

enum class Said : uint32_t { kReady = 1, kBytes = 2 };

struct Frame {
    uint32_t magic;
    Said said;
    uint64_t operation; // number of the collective, or of the message
    uint32_t round;     // kMessage for messages
    uint32_t type;
    uint64_t bytes;     // that follow
    Signature signature;
};
constexpr uint32_t kFrameMagic = 0xc0de4cc1, kMessage = 0xffffffff;

class Line {
  public:
    explicit Line(int file);
    ~Line();
    Line(const Line &) = delete;
    Line &operator=(const Line &) = delete;

    int file() const { return file_; }
    int error() const { return error_; } // errno of what broke it; 0: it is whole

    uint32_t credits = 0; // messages that the other side is ready for

    // Without waiting. What is begun is gone on with at the next call.
    bool send(const Frame &frame);             // true: all of it is sent
    bool receive(Frame *frame);                // true: a frame is there
    size_t send_some(const char *from, size_t bytes);
    size_t receive_some(char *to, size_t bytes);

  private:
    void note(long result);

    int file_;
    int error_ = 0;
    size_t sent_ = 0, got_ = 0; // of the frame under way
    Frame incoming_ = {};
};

} // namespace hccl

#endif
