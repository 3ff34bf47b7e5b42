package prompt

import (
	"strings"

	"rsc.io/qr"
)

const (
	// blackOnWhite names two colours of the fixed part of the palette, which
	// themes leave alone: a reader needs dark on light.
	blackOnWhite = "\x1b[38;5;16;48;5;231m"
	plain        = "\x1b[0m"

	// A reader is promised a margin of four modules around the code (ISO/IEC
	// 18004); two are enough for those in use.
	wideMargin, narrowMargin = 4, 2
)

// qrCode draws url as a QR code, two modules above each other in a character,
// or returns "" where the terminal has no room for it and for others lines.
func (s *surroundings) qrCode(url string, others int) string {
	width, height, ok := s.size()
	if !ok || !s.drawsBlocks() {
		return ""
	}
	code, err := qr.Encode(url, qr.L)
	if err != nil {
		return "" // too long for any code
	}
	for _, margin := range []int{wideMargin, narrowMargin} {
		if side := code.Size + 2*margin; side <= width && (side+1)/2+others <= height {
			return draw(code, margin)
		}
	}
	return ""
}

func draw(code *qr.Code, margin int) string {
	var b strings.Builder
	for y := -margin; y < code.Size+margin; y += 2 {
		b.WriteString(blackOnWhite)
		for x := -margin; x < code.Size+margin; x++ {
			switch upper, lower := code.Black(x, y), code.Black(x, y+1); {
			case upper && lower:
				b.WriteString("█")
			case upper:
				b.WriteString("▀")
			case lower:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(plain + "\n")
	}
	return b.String()
}
