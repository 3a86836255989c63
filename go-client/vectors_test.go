//go:build linux || darwin

package ipcchannel

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The vectors are the same for the clients in every language.
const vectorDir = "../spec/vectors"

func loadVectors(t testing.TB, name string, cases any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, name))
	must(t, err)
	var file struct {
		Description string
		Version     int
		Cases       json.RawMessage
	}
	must(t, json.Unmarshal(data, &file))
	if file.Version != 1 {
		t.Fatalf("%s has version %d, not 1", name, file.Version)
	}
	// A field that this test does not know would be a case that does not run.
	strict := json.NewDecoder(bytes.NewReader(file.Cases))
	strict.DisallowUnknownFields()
	must(t, strict.Decode(cases))
}

// byteString is a list of parts: hex digits, or {repeat, times}.
type byteString []byte

func (b *byteString) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	*b = nil
	for _, part := range parts {
		repeated := struct {
			Repeat string
			Times  int
		}{Times: 1}
		if err := json.Unmarshal(part, &repeated.Repeat); err != nil {
			if err := json.Unmarshal(part, &repeated); err != nil {
				return err
			}
		}
		digits, err := hex.DecodeString(repeated.Repeat)
		if err != nil {
			return err
		}
		*b = append(*b, bytes.Repeat(digits, repeated.Times)...)
	}
	return nil
}

// messageList is a list of byte strings and {repeat_message, times}.
type messageList [][]byte

func (m *messageList) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return err
	}
	*m = nil
	for _, item := range items {
		var one byteString
		if err := json.Unmarshal(item, &one); err == nil {
			*m = append(*m, one)
			continue
		}
		var many struct {
			Message string `json:"repeat_message"`
			Times   int
		}
		if err := json.Unmarshal(item, &many); err != nil {
			return err
		}
		message, err := hex.DecodeString(many.Message)
		if err != nil {
			return err
		}
		for range many.Times {
			*m = append(*m, message)
		}
	}
	return nil
}
