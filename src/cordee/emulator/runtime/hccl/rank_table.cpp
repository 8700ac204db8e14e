// The vendor's cluster file: templates 1.0 and 1.2 (server_list), 2.0 (rank_list), and the old one.
//
// Devices are found by their processes, so of the file only the number of ranks and where to meet
// matter: on one server under a name that stands for the file, otherwise at the first server's host_ip.
//
// Follows: CANN "HCCL", chapter cluster information configuration.
#include "rank_table.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <functional>
#include <string>

#include "json.h"
#include "settings.h"

namespace hccl {
namespace {

constexpr uint16_t kBasePort = 60000; // HCCL_IF_BASE_PORT where it is not set

bool read_file(const char *path, std::string *text)
{
    FILE *file = path ? fopen(path, "re") : nullptr;
    char part[4096];

    if (!file)
        return false;
    for (size_t got; (got = fread(part, 1, sizeof part, file)) > 0;)
        text->append(part, got);
    fclose(file);
    return true;
}

struct Table {
    uint32_t ranks = 0, servers = 0;
    std::string address; // of the first server
};

bool is_address(const std::string &text)
{
    in6_addr parsed;
    return inet_pton(AF_INET, text.c_str(), &parsed) == 1 ||
           inet_pton(AF_INET6, text.c_str(), &parsed) == 1;
}

Table table_of(const Json &root)
{
    Table table;

    for (const Json &server : root["server_list"].items) {
        if (table.servers++ == 0)
            table.address = is_address(server["host_ip"].text) ? server["host_ip"].text
                                                               : server["server_id"].text;
        table.ranks += static_cast<uint32_t>(server["device"].items.size());
    }
    for (const Json &group : root["group_list"].items)
        for (const Json &instance : group["instance_list"].items) {
            if (table.servers++ == 0)
                table.address = instance["server_id"].text;
            table.ranks += static_cast<uint32_t>(instance["devices"].items.size());
        }
    if (root["rank_list"].kind == Json::Kind::kList) {
        table.servers = 1;
        table.ranks = static_cast<uint32_t>(root["rank_list"].items.size());
    }
    return table;
}

} // namespace

HcclResult read_rank_table(const char *path, uint32_t rank, uint32_t *ranks, Meeting *meeting)
{
    std::string text;
    Json root;

    if (!read_file(path, &text) || !json_read(text, &root))
        return fail(HCCL_E_PARA, "EI0004: the rank table %s cannot be read, or is not JSON",
                    path ? path : "NULL");
    const Table table = table_of(root);
    if (table.ranks == 0)
        return fail(HCCL_E_PARA, "EI0014: the rank table %s names no device: server_list, group_list "
                                 "or rank_list is wanted", path);
    if (table.servers > 1 && !is_address(table.address))
        return fail(HCCL_E_PARA, "EI0014: the rank table %s has no host_ip for its first server", path);
    const uint64_t hash = std::hash<std::string>{}(text);
    *meeting = {};
    *ranks = table.ranks;
    meeting->identity = {hash, table.ranks};
    if (table.servers == 1) {
        snprintf(meeting->name, sizeof meeting->name, "cordee-ranks-%016lx", hash);
        return rank == 0 ? switchboard_also_named(meeting->name) : HCCL_SUCCESS;
    }
    snprintf(meeting->address.text, sizeof meeting->address.text, "%s", table.address.c_str());
    meeting->address.port = base_port() ? base_port() : kBasePort;
    return rank == 0 ? switchboard_also_at(meeting->address.port) : HCCL_SUCCESS;
}

} // namespace hccl
