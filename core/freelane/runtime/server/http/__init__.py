"""HTTP/1.1 for the server: sockets in, `Exchange` out."""
