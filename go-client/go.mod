module github.com/ipc-channel/ipc-channel/go-client

// The oldest Go that the tests pass on; nox -s go_oldest runs them there.
go 1.22
