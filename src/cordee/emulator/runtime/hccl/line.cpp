// Sockets between hosts.
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "settings.h"

namespace hccl {

Line::Line(int file) : file_(file)
{
    const int on = 1;
    const unsigned patience_ms = network_timeout_ms();

    fcntl(file, F_SETFL, fcntl(file, F_GETFL) | O_NONBLOCK);
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // As long as RoCE would send a packet again: then the line counts as broken.
    setsockopt(file, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

Line::~Line()
{
    close(file_);
}

void Line::note(long result)
{
    if (result == 0)
        error_ = ECONNRESET;
    else if (result < 0 && errno != EAGAIN && errno != EINTR)
        error_ = errno;
}

size_t Line::send_some(const char *from, size_t bytes)
{
    const ssize_t sent = error_ ? -1 : ::send(file_, from, bytes, MSG_NOSIGNAL);

    if (error_)
        return 0;
    note(sent);
    return sent > 0 ? static_cast<size_t>(sent) : 0;
}

size_t Line::receive_some(char *to, size_t bytes)
{
    const ssize_t got = error_ ? -1 : recv(file_, to, bytes, 0);

    if (error_)
        return 0;
    note(got);
    return got > 0 ? static_cast<size_t>(got) : 0;
}

bool Line::send(const Frame &frame)
{
    sent_ += send_some(reinterpret_cast<const char *>(&frame) + sent_, sizeof frame - sent_);
    if (sent_ < sizeof frame)
        return false;
    sent_ = 0;
    return true;
}

bool Line::receive(Frame *frame)
{
    got_ += receive_some(reinterpret_cast<char *>(&incoming_) + got_, sizeof incoming_ - got_);
    if (got_ < sizeof incoming_)
        return false;
    got_ = 0;
    *frame = incoming_;
    if (frame->magic != kFrameMagic)
        error_ = EPROTO;
    return error_ == 0;
}

} // namespace hccl
