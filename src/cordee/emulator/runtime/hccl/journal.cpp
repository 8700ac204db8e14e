// Writes the journal: one system call for each line, so that a process that is killed leaves whole
// lines, and leaves all of those that had ended.
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "operation.h"

namespace hccl {
namespace {

constexpr int kVersion = 1;                    // of the lines
constexpr uint64_t kFirstSeenNs = 50'000'000;  // after it began
constexpr uint64_t kSeldomNs = 10'000'000'000; // at most between two lines of one that still runs

int open_file()
{
    const char *folder = getenv("CORDEE_TRACE");
    char path[4096];

    if (!folder || !*folder)
        return -1;
    snprintf(path, sizeof path, "%s/collectives-%d.jsonl", folder, getpid());
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (file < 0) {
        fprintf(stderr, "cordee: %s cannot be written: %s\n", path, strerror(errno));
        return -1;
    }
    dprintf(file, "{\"journal\":%d,\"process\":%d}\n", kVersion, getpid());
    return file;
}

int file()
{
    static const int kept = open_file();
    return kept;
}

std::string quoted(const std::string &text)
{
    std::string result = "\"";
    for (const char c : text) {
        char escaped[8];
        if (c == '"' || c == '\\')
            result += '\\';
        if (static_cast<unsigned char>(c) >= 0x20) {
            result += c;
            continue;
        }
        snprintf(escaped, sizeof escaped, "\\u%04x", c);
        result += escaped;
    }
    return result + '"';
}

std::string messages(const Entry &entry, bool sends)
{
    std::string list;
    for (const Carried &one : entry.carried)
        if (one.sends == sends)
            list += (list.empty() ? "[" : ",[") + std::to_string(one.peer) + "," +
                    std::to_string(one.bytes) + "]";
    return list.empty() ? "" : std::string(sends ? ",\"sends\":[" : ",\"receives\":[") + list + "]";
}

void put(const Operation &operation, uint64_t ended_ns, const std::string &more)
{
    const Entry &entry = operation.entry;
    const Communicator &c = operation.communicator();
    char numbers[512];

    snprintf(numbers, sizeof numbers,
             ",\"identity\":\"%016lx%016lx\",\"ranks\":%u,\"rank\":%u,\"chip\":%d,\"stream\":%d,"
             "\"bytes\":%lu,\"ns\":[%lu,%lu,%lu,%lu]",
             c.identity.high, c.identity.low, c.ranks(), c.rank, c.chip, entry.stream, entry.bytes,
             entry.issued_ns, entry.begun_ns, entry.met_ns, ended_ns);
    const std::string line = "{\"operation\":" + std::to_string(entry.number) + ",\"what\":\"" +
                             operation.what() + "\",\"group\":" + quoted(c.name) + numbers +
                             messages(entry, true) + messages(entry, false) + more + "}\n";
    if (write(file(), line.data(), line.size()) < 0)
        fprintf(stderr, "cordee: the journal of collectives lacks a line: %s\n", strerror(errno));
}

} // namespace

bool journal_is_kept()
{
    return file() >= 0;
}

void journal_note(const Operation &operation, aclError code)
{
    if (journal_is_kept())
        put(operation, operation.entry.ended_ns, ",\"code\":" + std::to_string(code));
}

// Each time it has run a quarter longer: what is lost is a quarter at most, and a long wait takes few lines.
void journal_see(Operation &operation)
{
    Entry &entry = operation.entry;

    if (!journal_is_kept())
        return;
    const uint64_t now = now_ns(), ran_ns = entry.seen_ns - entry.begun_ns;
    const uint64_t next_ns = entry.seen_ns == 0 ? entry.begun_ns + kFirstSeenNs
                                                : entry.seen_ns + std::min(ran_ns / 4, kSeldomNs);
    if (now < next_ns)
        return;
    entry.seen_ns = now;
    put(operation, now, ",\"code\":0,\"open\":true");
}

} // namespace hccl
