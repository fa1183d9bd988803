"""Turns what was seen into verdicts; pure, so that every judgement can be dropped and made again."""
