module example.com/json-rpc

go 1.22

require (
	github.com/creachadair/jrpc2 v1.2.0
	github.com/ipc-channel/ipc-channel/go-client v0.0.0
)

require (
	github.com/creachadair/mds v0.13.4 // indirect
	golang.org/x/sync v0.6.0 // indirect
)

replace github.com/ipc-channel/ipc-channel/go-client => ../../../go-client
