// Work of a communicator on a stream.
#ifndef CORDEE_HCCL_OPERATION_H
#define CORDEE_HCCL_OPERATION_H

#include <memory>

#include "journal.h"
#include "patience.h"

namespace hccl {

class Messages;

class Operation {
  public:
    Operation(Handle communicator, const char *what)
        : communicator_(std::move(communicator)), what_(what)
    {
    }
    virtual ~Operation() = default;

    // On the stream's thread, in the communicator's order. The result is the stream's error.
    virtual aclError run(const Patience &patience) = 0;

    // Itself, where it is messages between pairs of ranks.
    virtual Messages *as_messages() { return nullptr; }

    const Handle &handle() const { return communicator_; }
    Communicator &communicator() const { return *communicator_; }
    const char *what() const { return what_; }

    Entry entry; // what the journal says of it

  private:
    Handle communicator_;
    const char *what_;
};

// Puts the operation on the stream, or into the group that the thread has open.
HcclResult launch(std::unique_ptr<Operation> operation, aclrtStream stream);

// The same, whether or not a group is open.
HcclResult launch_now(std::unique_ptr<Operation> operation, aclrtStream stream);

} // namespace hccl

#endif
