#!/bin/sh
# Makes recording.wav and recording.json beside this script: two spoken sentences at known places in faint noise.
# Needs espeak-ng and sox. Nobody's voice is in it, so nobody's licence is: the speech is synthesised. The same releases of
# both programs give the same bytes: sox takes its noise from a fixed seed (-R) and no dither is added (-D).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lead=1.0 pause=1.5 tail=1.0  # seconds of silence before, between and after the sentences
level=-46                    # dB of the noise under all of it, against full scale

say() { # FILE VOICE SENTENCE: speech alone at 16 kHz, the silence around it cut away
    espeak-ng -v "$2" -s 140 -w "$work/spoken.wav" "$3"
    sox -R -D "$work/spoken.wav" -b 16 -r 16000 -c 1 "$1" \
        silence 1 0.01 -50d reverse silence 1 0.01 -50d reverse norm -3
}

quiet() { sox -R -D -n -b 16 -r 16000 -c 1 "$1" trim 0 "$2"; } # FILE SECONDS

say "$work/first.wav" en-us "The supervisor fetches one recording at a time."
say "$work/second.wav" en-gb "Then it tells the truth about what it found."
quiet "$work/lead.wav" $lead
quiet "$work/pause.wav" $pause
quiet "$work/tail.wav" $tail
sox -D "$work/lead.wav" "$work/first.wav" "$work/pause.wav" "$work/second.wav" "$work/tail.wav" "$work/speech.wav"
sox -R -D -n -b 16 -r 16000 -c 1 "$work/noise.wav" synth "$(soxi -D "$work/speech.wav")" pinknoise norm $level
sox -D -m -v 1 "$work/speech.wav" -v 1 "$work/noise.wav" "$here/recording.wav"

awk -v lead=$lead -v pause=$pause -v first="$(soxi -D "$work/first.wav")" -v second="$(soxi -D "$work/second.wav")" 'BEGIN {
    two = lead + first + pause
    printf "{\"speech\": [[%.3f, %.3f], [%.3f, %.3f]]}\n", lead, lead + first, two, two + second
}' >"$here/recording.json"
