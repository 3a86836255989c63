package ipcchannel

// The environment variables that tell a helper its rendezvous.
const (
	EnvIn  = "IPC_CHANNEL_IN"  // what the helper reads from
	EnvOut = "IPC_CHANNEL_OUT" // what the helper writes to
)

// envRendezvous reads the two environment variables through lookup.
func envRendezvous(lookup func(string) (string, bool)) (in, out string, err error) {
	if in, err = envValue(lookup, EnvIn); err != nil {
		return "", "", err
	}
	if out, err = envValue(lookup, EnvOut); err != nil {
		return "", "", err
	}
	return in, out, nil
}

func envValue(lookup func(string) (string, bool), name string) (string, error) {
	value, set := lookup(name)
	if value != "" {
		return value, nil
	}
	state := "missing"
	if set {
		state = "empty"
	}
	return "", newError(CodeBadRendezvous,
		"the environment variable %s is %s: the service that starts this program sets it; "+
			"to try it by hand, set %s to its server's out path and %s to its in path", name, state, EnvIn, EnvOut)
}
