"""windfall inside other libraries, each in a module of that library's name; none is imported before it is asked for."""
