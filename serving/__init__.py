"""Artifact -> answers: one HTTP door in front of every runtime, served by BentoML."""
