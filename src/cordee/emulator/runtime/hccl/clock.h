// The clock of timeouts.
#ifndef CORDEE_HCCL_CLOCK_H
#define CORDEE_HCCL_CLOCK_H

#include <stdint.h>
#include <time.h>

namespace hccl {

inline uint64_t now_ns()
{
    timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

// A point in time that may never come.
class Deadline {
  public:
    static Deadline after_ns(uint64_t ns) { return Deadline(ns == 0 ? 0 : now_ns() + ns); }

    bool over() const { return at_ns_ != 0 && now_ns() >= at_ns_; }

    // Milliseconds until then, at most `slice_ms`, at least 1.
    int left_ms(int slice_ms) const
    {
        const uint64_t now = now_ns();
        if (at_ns_ == 0)
            return slice_ms;
        if (now >= at_ns_)
            return 1;
        const uint64_t left = (at_ns_ - now) / 1000000u + 1;
        return left < static_cast<uint64_t>(slice_ms) ? static_cast<int>(left) : slice_ms;
    }

  private:
    explicit Deadline(uint64_t at_ns) : at_ns_(at_ns) {}

    uint64_t at_ns_; // 0: never
};

} // namespace hccl

#endif
