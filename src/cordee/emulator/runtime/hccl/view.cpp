// Mappings of other processes' memory files, opened under /proc.
#include "view.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cordee_work.h"

namespace hccl {
namespace {

constexpr uint64_t kWindow = 64u << 20; // mapped at a time, so that neighbours are mapped too
constexpr size_t kMappings = 512;

} // namespace

Views::~Views()
{
    for (const Mapping &mapping : mappings_)
        munmap(mapping.base, mapping.bytes);
}

Views::Mapping *Views::find(const Place &place, uint64_t offset, uint64_t bytes)
{
    for (auto mapping = mappings_.begin(); mapping != mappings_.end(); ++mapping)
        if (mapping->pid == place.pid && mapping->file == place.file && mapping->offset <= offset &&
            offset + bytes <= mapping->offset + mapping->bytes) {
            mappings_.splice(mappings_.begin(), mappings_, mapping);
            return &mappings_.front();
        }
    return nullptr;
}

Views::Mapping *Views::map(const Place &place, uint64_t offset, uint64_t bytes)
{
    const uint64_t from = offset / kWindow * kWindow;
    const uint64_t to = (offset + bytes + kWindow - 1) / kWindow * kWindow;
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", place.pid, place.file);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return nullptr;
    void *base = mmap(nullptr, to - from, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file,
                      static_cast<off_t>(from));
    close(file);
    if (base == MAP_FAILED)
        return nullptr;
    madvise(base, to - from, MADV_DONTFORK);
    madvise(base, to - from, MADV_DONTDUMP);
    madvise(base, to - from, MADV_HUGEPAGE);
    if (mappings_.size() == kMappings) {
        munmap(mappings_.back().base, mappings_.back().bytes);
        mappings_.pop_back();
    }
    mappings_.push_front({place.pid, place.file, from, to - from, static_cast<char *>(base)});
    return &mappings_.front();
}

char *Views::at(const Place &place, uint64_t start, uint64_t bytes)
{
    const uint64_t offset = place.offset + start;
    Mapping *mapping = find(place, offset, bytes);

    if (!mapping)
        mapping = map(place, offset, bytes);
    return mapping ? mapping->base + (offset - mapping->offset) : nullptr;
}

Stage::~Stage()
{
    if (base_)
        munmap(base_, bytes_);
    if (file_ >= 0)
        close(file_);
}

char *Stage::room(uint64_t bytes)
{
    if (bytes <= bytes_)
        return base_;
    const uint64_t grown = (bytes + kWindow - 1) / kWindow * kWindow;
    if (file_ < 0)
        file_ = memfd_create("cordee-stage", MFD_CLOEXEC);
    if (file_ < 0 || ftruncate(file_, static_cast<off_t>(grown)) != 0)
        return nullptr;
    void *base = mmap(nullptr, grown, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (base == MAP_FAILED)
        return nullptr;
    if (base_)
        munmap(base_, bytes_);
    base_ = static_cast<char *>(base);
    bytes_ = grown;
    return base_;
}

Place Stage::place() const
{
    return {getpid(), file_, 0};
}

bool locate(const void *device, uint64_t bytes, Place *place)
{
    place->pid = getpid();
    return cordee_locate(device, bytes, &place->file, &place->offset) != 0;
}

} // namespace hccl
