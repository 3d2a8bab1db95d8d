package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/search/index"
	"golang.org/x/image/draw"
	"golang.org/x/term"
)

// The size of a preview in a terminal's cells, which are about twice as high as wide.
const (
	previewColumns = 40
	previewRows    = 15
)

// previewer draws pictures of an index where w goes. One without a thumbnail, since its
// files are gone, is left out.
func (sr *searching) previewer(w io.Writer) func(ctx context.Context, x *index.Index, id int64) error {
	drawing := halfBlocks
	if showsKitty(w, os.Getenv) {
		drawing = kitty
	}
	return func(ctx context.Context, x *index.Index, id int64) error {
		data, err := x.Thumbnail(ctx, id)
		if err != nil {
			return ctx.Err()
		}
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		text, err := drawing(img)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	}
}

// showsKitty reports whether w is a terminal that says it has kitty's graphics protocol.
func showsKitty(w io.Writer, env func(string) string) bool {
	if out, ok := w.(stdoutWriter); ok {
		w = out.w
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || env("TMUX") != "" {
		return false
	}
	return env("KITTY_WINDOW_ID") != "" || strings.Contains(env("TERM"), "kitty") ||
		strings.EqualFold(env("TERM_PROGRAM"), "wezterm") || strings.EqualFold(env("TERM_PROGRAM"), "ghostty")
}

// cells is how many columns and rows an image takes.
func cells(img image.Image) (columns, rows int) {
	size := img.Bounds().Size()
	scale := min(float64(previewColumns)/float64(size.X), 2*float64(previewRows)/float64(size.Y))
	return max(1, int(float64(size.X)*scale+0.5)), max(1, int(float64(size.Y)*scale/2+0.5))
}

// kitty is an image in the graphics protocol of the terminal kitty: a PNG in base64, in
// pieces of 4,096 bytes.
func kitty(img image.Image) (string, error) {
	var data bytes.Buffer
	if err := png.Encode(&data, img); err != nil {
		return "", err
	}
	columns, rows := cells(img)
	rest := base64.StdEncoding.EncodeToString(data.Bytes())
	var b strings.Builder
	for first := true; first || rest != ""; first = false {
		piece := rest[:min(4096, len(rest))]
		rest = rest[len(piece):]
		more := 0
		if rest != "" {
			more = 1
		}
		if first {
			fmt.Fprintf(&b, "\x1b_Ga=T,q=2,f=100,c=%d,r=%d,m=%d;%s\x1b\\", columns, rows, more, piece)
		} else {
			fmt.Fprintf(&b, "\x1b_Gm=%d;%s\x1b\\", more, piece)
		}
	}
	b.WriteString("\n")
	return b.String(), nil
}

// halfBlocks is an image in characters whose upper half has one color and whose lower half
// has another.
func halfBlocks(img image.Image) (string, error) {
	columns, rows := cells(img)
	small := image.NewRGBA(image.Rect(0, 0, columns, 2*rows))
	draw.BiLinear.Scale(small, small.Bounds(), img, img.Bounds(), draw.Src, nil)
	var b strings.Builder
	for row := range rows {
		for column := range columns {
			up, low := small.RGBAAt(column, 2*row), small.RGBAAt(column, 2*row+1)
			fmt.Fprintf(&b, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", up.R, up.G, up.B, low.R, low.G, low.B)
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String(), nil
}
