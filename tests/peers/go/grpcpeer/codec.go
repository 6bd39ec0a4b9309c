package main

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// raw passes bytes on as they are, and the messages of the standard services as protobuf.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(value any) ([]byte, error) {
	switch value := value.(type) {
	case *[]byte:
		return *value, nil
	case proto.Message:
		return proto.Marshal(value)
	}
	return nil, fmt.Errorf("cannot send a %T", value)
}

func (raw) Unmarshal(data []byte, value any) error {
	switch value := value.(type) {
	case *[]byte:
		*value = append([]byte(nil), data...)
		return nil
	case proto.Message:
		return proto.Unmarshal(data, value)
	}
	return fmt.Errorf("cannot receive a %T", value)
}
