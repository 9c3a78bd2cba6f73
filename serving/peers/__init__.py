"""Other ways to serve the same artifact, small and honest, to be measured side by side with ours (`hemabench peers`).

Each is a file that is read in a minute: what a careful user of that tool writes with its
own documentation open, one worker, one inference thread, the tool's defaults otherwise.
All share `serving.peers.work`, so that they differ in nothing but how a request gets
there and back. None has our limits, refusals, metrics or error shape.
"""
