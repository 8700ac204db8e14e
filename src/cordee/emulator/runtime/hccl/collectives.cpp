// The vendor's collectives, each as a plan of rounds.
//
// Large reductions have every rank reduce one slice of the elements and then give it to the others;
// small ones have every rank reduce everything, which takes one round.
//
// Follows: CANN "HCCL API", chapter collective communication operators.
#include <algorithm>

#include "collective.h"
#include "element.h"

namespace hccl {
namespace {

// What every collective gets, checked.
struct Request {
    Handle communicator;
    const char *name;
    HcclDataType type;
    uint64_t width; // bytes of an element

    uint32_t ranks() const { return communicator->ranks(); }
    uint32_t rank() const { return communicator->rank; }
};

HcclResult open(const char *name, HcclComm comm, HcclDataType type, Request *request)
{
    request->communicator = handle_get(comm);
    if (!request->communicator)
        return fail(HCCL_E_PARA, "%s: not a live communicator", name);
    request->name = name;
    request->type = type;
    request->width = element_bytes(type);
    const HcclResult code = check_movable(name, type);
    return code == HCCL_SUCCESS ? check_usable(request->communicator) : code;
}

HcclResult check_buffer(const char *name, const void *buffer, uint64_t bytes)
{
    return buffer || bytes == 0 ? HCCL_SUCCESS : fail(HCCL_E_PTR, "%s: a buffer is NULL", name);
}

HcclResult check_root(const Request &request, uint32_t root)
{
    return root < request.ranks()
               ? HCCL_SUCCESS
               : fail(HCCL_E_PARA, "%s: root %u of %u ranks", request.name, root, request.ranks());
}

Plan plan_of(const Request &request, HcclCMDType kind, uint64_t count)
{
    Plan plan;
    plan.signature = {kind, request.type, HCCL_REDUCE_RESERVED, 0, count};
    plan.type = request.type;
    return plan;
}

Buffer memory(const void *device, uint64_t bytes)
{
    return {bytes ? static_cast<char *>(const_cast<void *>(device)) : nullptr, bytes};
}

std::vector<Piece> same_for_all(const Request &request, Piece piece)
{
    return std::vector<Piece>(request.ranks(), piece);
}

// Piece number r of equal ones.
std::vector<Piece> row(const Request &request, uint64_t bytes)
{
    std::vector<Piece> pieces(request.ranks());
    for (uint32_t rank = 0; rank < pieces.size(); rank++)
        pieces[rank] = {rank * bytes, bytes};
    return pieces;
}

// Counts and displacements of elements, as the calls with V have them.
std::vector<Piece> listed(const Request &request, const void *counts, const void *displacements)
{
    const auto *count = static_cast<const uint64_t *>(counts);
    const auto *start = static_cast<const uint64_t *>(displacements);
    std::vector<Piece> pieces(request.ranks());
    for (uint32_t rank = 0; rank < pieces.size(); rank++)
        pieces[rank] = {start[rank] * request.width, count[rank] * request.width};
    return pieces;
}

uint64_t reach(const std::vector<Piece> &pieces)
{
    uint64_t end = 0;
    for (const Piece &piece : pieces)
        if (piece.bytes > 0)
            end = std::max(end, piece.start + piece.bytes);
    return end;
}

// Near-equal shares of the elements, each a multiple of 64 bytes but the last.
std::vector<Piece> slices(const Request &request, uint64_t count)
{
    const uint64_t step = std::max<uint64_t>(1, 64 / request.width);
    const uint64_t steps = (count + step - 1) / step;
    std::vector<Piece> pieces(request.ranks());
    for (uint32_t rank = 0; rank < pieces.size(); rank++) {
        const uint64_t from = std::min(count, steps * rank / request.ranks() * step);
        const uint64_t to = std::min(count, steps * (rank + 1) / request.ranks() * step);
        pieces[rank] = {from * request.width, (to - from) * request.width};
    }
    return pieces;
}

HcclResult start(const Request &request, Plan plan, aclrtStream stream)
{
    return launch(std::make_unique<Collective>(request.communicator, request.name, std::move(plan)),
                  stream);
}

// Every rank reduces one share of the elements, from all ranks.
Round reduced_shares(Buffer from, Buffer to, std::vector<Piece> shares, Piece into)
{
    return {true, from, to, std::move(shares), {into}};
}

Plan reduction_plan(const Request &request, HcclCMDType kind, uint64_t count, HcclReduceOp op)
{
    Plan plan = plan_of(request, kind, count);
    plan.signature.reduction = op;
    plan.reduction = op;
    return plan;
}

} // namespace
} // namespace hccl

using namespace hccl;

#define RETURN_IF_FAILED(call)                                                                     \
    do {                                                                                           \
        const HcclResult code_ = (call);                                                           \
        if (code_ != HCCL_SUCCESS)                                                                 \
            return code_;                                                                          \
    } while (0)

HcclResult HcclAllReduce(void *from, void *to, uint64_t count, HcclDataType type, HcclReduceOp op,
                         HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAllReduce", comm, type, &request));
    RETURN_IF_FAILED(check_reducible(request.name, type, op));
    const uint64_t bytes = count * request.width;
    RETURN_IF_FAILED(check_buffer(request.name, from, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, to, bytes));
    Plan plan = reduction_plan(request, HCCL_CMD_ALLREDUCE, count, op);
    const Communicator &c = *request.communicator;
    if (bytes <= c.inline_bytes() && c.all_local()) {
        plan.rounds = {{true, memory(from, bytes), memory(to, bytes),
                        same_for_all(request, {0, bytes}), {{0, bytes}}}};
    } else {
        const std::vector<Piece> shares = slices(request, count);
        const Piece mine = shares[request.rank()];
        plan.rounds = {reduced_shares(memory(from, bytes), memory(to, bytes), shares, mine),
                       {false, memory(to, bytes), memory(to, bytes), same_for_all(request, mine), shares}};
    }
    return start(request, std::move(plan), stream);
}

HcclResult HcclReduce(void *from, void *to, uint64_t count, HcclDataType type, HcclReduceOp op,
                      uint32_t root, HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclReduce", comm, type, &request));
    RETURN_IF_FAILED(check_reducible(request.name, type, op));
    RETURN_IF_FAILED(check_root(request, root));
    const uint64_t bytes = count * request.width;
    const bool is_root = request.rank() == root;
    RETURN_IF_FAILED(check_buffer(request.name, from, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, is_root ? to : from, bytes));
    Plan plan = reduction_plan(request, HCCL_CMD_REDUCE, count, op);
    plan.signature.root = root;
    const Communicator &c = *request.communicator;
    if (bytes <= c.inline_bytes() && c.all_local()) {
        std::vector<Piece> outgoing(request.ranks());
        outgoing[root] = {0, bytes};
        plan.rounds = {{true, memory(from, bytes), memory(is_root ? to : nullptr, is_root ? bytes : 0),
                        outgoing, {{0, is_root ? bytes : 0}}}};
    } else {
        // Only the root's memory may change, so shares are reduced in the communicator's own.
        const std::vector<Piece> shares = slices(request, count);
        const Piece mine = shares[request.rank()], share = {0, mine.bytes};
        std::vector<Piece> outgoing(request.ranks());
        outgoing[root] = share;
        plan.rounds = {
            reduced_shares(memory(from, bytes), {nullptr, mine.bytes}, shares, share),
            {false, {nullptr, mine.bytes}, memory(is_root ? to : nullptr, is_root ? bytes : 0), outgoing,
             is_root ? shares : same_for_all(request, {0, 0})}};
    }
    return start(request, std::move(plan), stream);
}

HcclResult HcclReduceScatter(void *from, void *to, uint64_t count, HcclDataType type,
                             HcclReduceOp op, HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclReduceScatter", comm, type, &request));
    RETURN_IF_FAILED(check_reducible(request.name, type, op));
    const uint64_t bytes = count * request.width;
    RETURN_IF_FAILED(check_buffer(request.name, from, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, to, bytes));
    Plan plan = reduction_plan(request, HCCL_CMD_REDUCE_SCATTER, count, op);
    plan.rounds = {reduced_shares(memory(from, bytes * request.ranks()), memory(to, bytes),
                                  row(request, bytes), {0, bytes})};
    return start(request, std::move(plan), stream);
}

HcclResult HcclReduceScatterV(void *from, const void *counts, const void *displacements, void *to,
                              uint64_t count, HcclDataType type, HcclReduceOp op, HcclComm comm,
                              aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclReduceScatterV", comm, type, &request));
    RETURN_IF_FAILED(check_reducible(request.name, type, op));
    if (op == HCCL_REDUCE_PROD)
        return fail(HCCL_E_NOT_SUPPORT, "EI0003: HcclReduceScatterV: prod is not supported");
    if (!counts || !displacements)
        return fail(HCCL_E_PTR, "HcclReduceScatterV: counts or displacements are NULL");
    const std::vector<Piece> shares = listed(request, counts, displacements);
    const uint64_t bytes = count * request.width;
    RETURN_IF_FAILED(check_buffer(request.name, from, reach(shares)));
    RETURN_IF_FAILED(check_buffer(request.name, to, bytes));
    if (shares[request.rank()].bytes != bytes)
        return fail(HCCL_E_PARA, "HcclReduceScatterV: recvCount %lu is not sendCounts[%u]", count,
                    request.rank());
    Plan plan = reduction_plan(request, HCCL_CMD_REDUCE_SCATTER_V, 0, op);
    plan.rounds = {reduced_shares(memory(from, reach(shares)), memory(to, bytes), shares,
                                  {0, bytes})};
    return start(request, std::move(plan), stream);
}

HcclResult HcclAllGather(void *from, void *to, uint64_t count, HcclDataType type, HcclComm comm,
                         aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAllGather", comm, type, &request));
    const uint64_t bytes = count * request.width;
    RETURN_IF_FAILED(check_buffer(request.name, from, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, to, bytes));
    Plan plan = plan_of(request, HCCL_CMD_ALLGATHER, count);
    plan.rounds = {{false, memory(from, bytes), memory(to, bytes * request.ranks()),
                    same_for_all(request, {0, bytes}), row(request, bytes)}};
    return start(request, std::move(plan), stream);
}

HcclResult HcclAllGatherV(void *from, uint64_t count, void *to, const void *counts,
                          const void *displacements, HcclDataType type, HcclComm comm,
                          aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAllGatherV", comm, type, &request));
    if (!counts || !displacements)
        return fail(HCCL_E_PTR, "HcclAllGatherV: counts or displacements are NULL");
    const std::vector<Piece> pieces = listed(request, counts, displacements);
    const uint64_t bytes = count * request.width;
    RETURN_IF_FAILED(check_buffer(request.name, from, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, to, reach(pieces)));
    Plan plan = plan_of(request, HCCL_CMD_ALLGATHER_V, 0);
    plan.rounds = {{false, memory(from, bytes), memory(to, reach(pieces)),
                    same_for_all(request, {0, bytes}), pieces}};
    return start(request, std::move(plan), stream);
}

HcclResult HcclBroadcast(void *buffer, uint64_t count, HcclDataType type, uint32_t root,
                         HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclBroadcast", comm, type, &request));
    RETURN_IF_FAILED(check_root(request, root));
    const uint64_t bytes = count * request.width;
    const bool is_root = request.rank() == root;
    RETURN_IF_FAILED(check_buffer(request.name, buffer, bytes));
    Plan plan = plan_of(request, HCCL_CMD_BROADCAST, count);
    plan.signature.root = root;
    std::vector<Piece> outgoing(request.ranks()), incoming(request.ranks());
    if (is_root)
        outgoing = same_for_all(request, {0, bytes});
    outgoing[root] = {0, 0}; // the root has it
    if (!is_root)
        incoming[root] = {0, bytes};
    plan.rounds = {{false, memory(is_root ? buffer : nullptr, is_root ? bytes : 0),
                    memory(buffer, bytes), outgoing, incoming}};
    return start(request, std::move(plan), stream);
}

HcclResult HcclScatter(void *from, void *to, uint64_t count, HcclDataType type, uint32_t root,
                       HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclScatter", comm, type, &request));
    RETURN_IF_FAILED(check_root(request, root));
    const uint64_t bytes = count * request.width;
    const bool is_root = request.rank() == root;
    RETURN_IF_FAILED(check_buffer(request.name, is_root ? from : to, bytes));
    RETURN_IF_FAILED(check_buffer(request.name, to, bytes));
    Plan plan = plan_of(request, HCCL_CMD_SCATTER, count);
    plan.signature.root = root;
    std::vector<Piece> incoming(request.ranks());
    incoming[root] = {0, bytes};
    plan.rounds = {{false, memory(is_root ? from : nullptr, is_root ? bytes * request.ranks() : 0),
                    memory(to, bytes),
                    is_root ? row(request, bytes) : same_for_all(request, {0, 0}), incoming}};
    return start(request, std::move(plan), stream);
}

HcclResult HcclBarrier(HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclBarrier", comm, HCCL_DATA_TYPE_INT8, &request));
    Plan plan = plan_of(request, HCCL_CMD_BARRIER, 0);
    plan.rounds = {{false, {}, {}, same_for_all(request, {0, 0}), same_for_all(request, {0, 0})}};
    return start(request, std::move(plan), stream);
}

namespace {

HcclResult all_to_all(const Request &request, HcclCMDType kind, uint64_t count, const void *from,
                      const void *to, std::vector<Piece> outgoing, std::vector<Piece> incoming,
                      aclrtStream stream)
{
    RETURN_IF_FAILED(check_buffer(request.name, from, reach(outgoing)));
    RETURN_IF_FAILED(check_buffer(request.name, to, reach(incoming)));
    Plan plan = plan_of(request, kind, count);
    const Buffer sent = memory(from, reach(outgoing)), got = memory(to, reach(incoming));
    plan.rounds = {{false, sent, got, std::move(outgoing), std::move(incoming)}};
    return start(request, std::move(plan), stream);
}

HcclResult check_one_type(const Request &request, HcclDataType other)
{
    return other == request.type ? HCCL_SUCCESS
                                 : fail(HCCL_E_PARA, "%s: sendType is not recvType", request.name);
}

} // namespace

HcclResult HcclAlltoAll(const void *from, uint64_t count, HcclDataType type, const void *to,
                        uint64_t to_count, HcclDataType to_type, HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAlltoAll", comm, type, &request));
    RETURN_IF_FAILED(check_one_type(request, to_type));
    if (count != to_count)
        return fail(HCCL_E_PARA, "HcclAlltoAll: sendCount %lu is not recvCount %lu", count, to_count);
    const std::vector<Piece> pieces = row(request, count * request.width);
    return all_to_all(request, HCCL_CMD_ALLTOALL, count, from, to, pieces, pieces, stream);
}

HcclResult HcclAlltoAllV(const void *from, const void *counts, const void *displacements,
                         HcclDataType type, const void *to, const void *to_counts,
                         const void *to_displacements, HcclDataType to_type, HcclComm comm,
                         aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAlltoAllV", comm, type, &request));
    RETURN_IF_FAILED(check_one_type(request, to_type));
    if (!counts || !displacements || !to_counts || !to_displacements)
        return fail(HCCL_E_PTR, "HcclAlltoAllV: counts or displacements are NULL");
    return all_to_all(request, HCCL_CMD_ALLTOALLV, 0, from, to,
                      listed(request, counts, displacements),
                      listed(request, to_counts, to_displacements), stream);
}

// The matrix says how many elements row r sends to column c; both lie packed.
HcclResult HcclAlltoAllVC(const void *from, const void *matrix, HcclDataType type, const void *to,
                          HcclDataType to_type, HcclComm comm, aclrtStream stream)
{
    Request request;
    RETURN_IF_FAILED(open("HcclAlltoAllVC", comm, type, &request));
    RETURN_IF_FAILED(check_one_type(request, to_type));
    if (!matrix)
        return fail(HCCL_E_PTR, "HcclAlltoAllVC: the matrix is NULL");
    const auto *counts = static_cast<const uint64_t *>(matrix);
    const uint32_t ranks = request.ranks();
    std::vector<Piece> outgoing(ranks), incoming(ranks);
    uint64_t sent = 0, received = 0;
    for (uint32_t other = 0; other < ranks; other++) {
        outgoing[other] = {sent, counts[request.rank() * ranks + other] * request.width};
        incoming[other] = {received, counts[other * ranks + request.rank()] * request.width};
        sent += outgoing[other].bytes;
        received += incoming[other].bytes;
    }
    return all_to_all(request, HCCL_CMD_ALLTOALLVC, 0, from, to, outgoing, incoming, stream);
}
