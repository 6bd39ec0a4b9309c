package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// outcome is what came of one call.
type outcome struct {
	Code     int                 `json:"code"`
	Message  string              `json:"message"`
	Messages []string            `json:"messages"`
	Headers  map[string][]string `json:"headers"`
	Trailers map[string][]string `json:"trailers"`
}

func call(arguments []string) {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	target := flags.String("target", "", "HOST:PORT")
	authority := flags.String("authority", "", "whom to ask for")
	ca := flags.String("ca", "", "PEM; speaks TLS if given")
	method := flags.String("method", "Echo", "of callboard.test.Peer")
	deadline := flags.Duration("deadline", 0, "of each call")
	cancel := flags.Duration("cancel", 0, "when to give each call up")
	times := flags.Int("times", 1, "how many calls, one after the other")
	gzip := flags.Bool("gzip", false, "compress")
	ask := flags.String("ask", "", "metadata to send")
	pause := flags.Duration("pause", 0, "between two messages of a call")
	_ = flags.Parse(arguments)

	transport := insecure.NewCredentials()
	if *ca != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(*ca, ""); err != nil {
			fail(err)
		}
	}
	connection, err := grpc.NewClient(
		"passthrough:///"+*target,
		grpc.WithTransportCredentials(transport),
		grpc.WithAuthority(*authority),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(64<<20)),
	)
	if err != nil {
		fail(err)
	}
	printed := json.NewEncoder(os.Stdout)
	for range *times {
		context, end := context.WithCancel(context.Background())
		if *deadline > 0 {
			context, end = withTimeout(context, *deadline)
		}
		if *cancel > 0 {
			time.AfterFunc(*cancel, end)
		}
		if *ask != "" {
			context = metadata.AppendToOutgoingContext(context, "x-ask", *ask, "x-ask-bin", *ask)
		}
		options := []grpc.CallOption{}
		if *gzip {
			options = append(options, grpc.UseCompressor("gzip"))
		}
		outcome := one(context, connection, *method, payloads(flags.Args()), *pause, options)
		if err := printed.Encode(outcome); err != nil {
			fail(err)
		}
		end()
	}
}

func withTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(parent, timeout)
}

// payloads are the arguments, or so many bytes for @N.
func payloads(arguments []string) [][]byte {
	messages := [][]byte{}
	for _, argument := range arguments {
		if size, ok := strings.CutPrefix(argument, "@"); ok {
			length, _ := strconv.Atoi(size)
			messages = append(messages, []byte(strings.Repeat("x", length)))
		} else {
			messages = append(messages, []byte(argument))
		}
	}
	return messages
}

func one(
	context context.Context,
	connection *grpc.ClientConn,
	method string,
	messages [][]byte,
	pause time.Duration,
	options []grpc.CallOption,
) outcome {
	found := outcome{Messages: []string{}}
	description := grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}
	stream, err := connection.NewStream(context, &description, "/callboard.test.Peer/"+method, options...)
	if err == nil {
		err = converse(stream, method, messages, pause, &found)
		found.Headers, _ = stream.Header()
		found.Trailers = stream.Trailer()
	}
	if err != nil && err != io.EOF {
		state, _ := status.FromError(err)
		found.Code, found.Message = int(state.Code()), state.Message()
	} else {
		found.Code = int(codes.OK)
	}
	return found
}

func converse(
	stream grpc.ClientStream,
	method string,
	messages [][]byte,
	pause time.Duration,
	found *outcome,
) error {
	chats := method == "Chat"
	for _, message := range messages {
		if err := stream.SendMsg(&message); err != nil {
			break // the answer says why
		}
		if chats {
			if err := listen(stream, found); err != nil {
				return err
			}
		}
		time.Sleep(pause)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := listen(stream, found); err != nil {
			return err
		}
	}
}

func listen(stream grpc.ClientStream, found *outcome) error {
	var message []byte
	if err := stream.RecvMsg(&message); err != nil {
		return err
	}
	if len(message) > 100 {
		message = fmt.Appendf(nil, "%d bytes", len(message))
	}
	found.Messages = append(found.Messages, string(message))
	return nil
}
