module github.com/ipc-channel/ipc-channel/go-client

go 1.22
