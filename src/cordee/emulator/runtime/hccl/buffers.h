// Memory of a chip through which the links of communicators move bytes, and which the program lacks.
#ifndef CORDEE_HCCL_BUFFERS_H
#define CORDEE_HCCL_BUFFERS_H

#include <stdint.h>

#include <memory>
#include <string>

namespace hccl {

class Buffers {
  public:
    // Two of `mib` each; those that have the same name on a chip are the same, of the size that the
    // first asked for. None where the chip has no room for them.
    static std::shared_ptr<Buffers> claim(int32_t chip, const std::string &name, uint32_t mib);

    Buffers(int32_t chip, uint64_t bytes) : chip_(chip), bytes_(bytes) {}
    Buffers(const Buffers &) = delete;
    Buffers &operator=(const Buffers &) = delete;
    ~Buffers();

  private:
    const int32_t chip_;
    const uint64_t bytes_;
};

} // namespace hccl

#endif
