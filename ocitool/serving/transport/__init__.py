"""The server: a thread for each request in hand, none for an idle connection.

`server` accepts and keeps connections, `connection` speaks HTTP/1.1 on one (parsed by h11),
`body` reads what clients send, `sending` writes answers, `listening` opens the socket.
"""
