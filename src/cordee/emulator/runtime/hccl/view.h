// Device memory of this process and of others on the host, as the host reads and writes it.
#ifndef CORDEE_HCCL_VIEW_H
#define CORDEE_HCCL_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include <list>

#include "room.h"

namespace hccl {

// Bytes of another process, mapped when they are first asked for and kept.
class Views {
  public:
    ~Views();

    // nullptr where they cannot be mapped: the process has ended, or the host refuses.
    char *at(const Place &place, uint64_t start, uint64_t bytes);

  private:
    struct Mapping {
        int32_t pid, file;
        uint64_t offset, bytes;
        char *base;
    };
    Mapping *find(const Place &place, uint64_t offset, uint64_t bytes);
    Mapping *map(const Place &place, uint64_t offset, uint64_t bytes);

    std::list<Mapping> mappings_; // the last used first
};

// Memory of this process in a file that others can open, where device memory cannot be offered
// as it is: it may lie in pieces.
class Stage {
  public:
    ~Stage();

    // At least `bytes` bytes; nullptr where the host refuses.
    char *room(uint64_t bytes);
    Place place() const;

  private:
    int file_ = -1;
    char *base_ = nullptr;
    uint64_t bytes_ = 0;
};

// Where others find device memory; false where it does not lie in one piece of one file.
bool locate(const void *device, uint64_t bytes, Place *place);

} // namespace hccl

#endif
