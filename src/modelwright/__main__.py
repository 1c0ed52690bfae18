"""`python -m modelwright`."""

from modelwright.ways_in.cli import main

if __name__ == "__main__":
    main()
