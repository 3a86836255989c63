//go:build linux || darwin

package ipcchannel

import (
	"errors"
	"strings"
	"testing"
)

// Covers RDV-1, RDV-2, RDV-3, RDV-4, RDV-5, RDV-6, RDV-60.
func TestRendezvousVectors(t *testing.T) {
	var cases []struct {
		ID, Note, In, Out, Transport, Host string
		Covers                             []string
		Port                               uint16
		Error                              Code
	}
	loadVectors(t, "rendezvous.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			transport, where, err := parseRendezvous(v.In, v.Out)
			var e *Error
			switch {
			case v.Error != "":
				if !errors.As(err, &e) || e.Code != v.Error {
					t.Fatalf("error is %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case transport.name != v.Transport:
				t.Fatalf("transport is %s", transport.name)
			case transport == tcp:
				addr := where.(tcpAddress)
				if addr.Addr().String() != v.Host || addr.Port() != v.Port {
					t.Fatalf("address is %v", addr)
				}
			case transport == unixSocket && unixPrefix+string(where.(socketPath)) != v.In:
				t.Fatalf("endpoint is %+v", where)
			case transport == namedPipe && where != pipePaths{v.In, v.Out}:
				t.Fatalf("endpoint is %+v", where)
			}
		})
	}
}

// Covers RDV-7, RDV-8.
func TestEnvironmentVectors(t *testing.T) {
	var cases []struct {
		ID, Note, In, Out, Names string
		Covers                   []string
		Env                      map[string]string
		Error                    Code
	}
	loadVectors(t, "environment.json", &cases)
	for _, v := range cases {
		t.Run(v.ID, func(t *testing.T) {
			in, out, err := envRendezvous(func(name string) (string, bool) {
				value, set := v.Env[name]
				return value, set
			})
			if in != v.In || out != v.Out {
				t.Errorf("rendezvous is %q, %q", in, out)
			}
			if v.Error == "" {
				must(t, err)
			} else if !errors.Is(err, &Error{Code: v.Error}) || !strings.Contains(err.Error(), v.Names) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
